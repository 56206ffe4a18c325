//! Which file is the configuration, and whether it can be trusted.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// The configuration of the whole machine.
pub const SYSTEM: &str = "/etc/tomte/agent.toml";

/// Where a configuration is looked for, in this order, unless one is named.
/// Root does not read files of a home directory; the working directory is
/// never searched.
#[must_use]
pub fn candidates(root: bool, home: Option<&Path>, config_home: Option<&Path>) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    if !root {
        let own = config_home.map(Path::to_owned).or_else(|| home.map(|home| home.join(".config")));
        paths.extend(own.map(|own| own.join("tomte/agent.toml")));
    }
    paths.push(PathBuf::from(SYSTEM));
    paths
}

/// The candidates for the running user.
#[must_use]
pub fn candidates_here() -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    candidates(
        rustix::process::geteuid().is_root(),
        variable("HOME").as_deref(),
        variable("XDG_CONFIG_HOME").as_deref(),
    )
}

/// Reads the file, if it is there and nobody else can write it.
///
/// # Errors
/// When it cannot be read, or could have been written by somebody else.
pub(super) fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ConfigError::Io { path: path.to_owned(), source }),
    };
    let user = rustix::process::geteuid().as_raw();
    let io = |source| ConfigError::Io { path: path.to_owned(), source };
    // The file behind a link, and the folder that it really lies in.
    let real = fs::canonicalize(path).map_err(io)?;
    distrust(&real, &fs::metadata(&real).map_err(io)?, user)?;
    if let Some(folder) = real.parent() {
        distrust(folder, &fs::metadata(folder).map_err(io)?, user)?;
    }
    Ok(Some(text))
}

fn distrust(path: &Path, meta: &Metadata, user: u32) -> Result<(), ConfigError> {
    let untrusted = |problem, cure: String| ConfigError::Untrusted { path: path.to_owned(), problem, cure };
    if meta.uid() != 0 && meta.uid() != user {
        return Err(untrusted("belongs to another user", format!("chown root {}", path.display())));
    }
    // In a sticky folder others can add files but not replace this one.
    let sticky_folder = meta.is_dir() && meta.mode() & 0o1000 != 0;
    if meta.mode() & 0o022 != 0 && !sticky_folder {
        return Err(untrusted("can be written by others", format!("chmod go-w {}", path.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn root_does_not_look_into_a_home() {
        let home = Path::new("/home/ada");
        assert_eq!(candidates(true, Some(home), None), [Path::new(SYSTEM)]);
        assert_eq!(
            candidates(false, Some(home), None),
            [Path::new("/home/ada/.config/tomte/agent.toml"), Path::new(SYSTEM)]
        );
        assert_eq!(candidates(false, Some(home), Some(Path::new("/c")))[0], Path::new("/c/tomte/agent.toml"));
    }

    #[test]
    fn what_others_can_write_is_refused_with_the_cure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        assert!(read(&path).unwrap().is_none());
        fs::write(&path, "").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        mode(&path, 0o644);
        assert_eq!(read(&path).unwrap().as_deref(), Some(""));
        mode(&path, 0o664);
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("chmod go-w") && error.contains("agent.toml"), "{error}");
        mode(&path, 0o600);
        mode(folder.path(), 0o777);
        assert!(matches!(read(&path), Err(ConfigError::Untrusted { path, .. }) if path.is_dir()));
        mode(folder.path(), 0o1777);
        assert!(read(&path).is_ok());
    }

    #[test]
    fn what_belongs_to_somebody_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let meta = fs::metadata(folder.path()).unwrap();
        // Only root's files are everybody's; so pretend to be another user.
        let verdict = distrust(folder.path(), &meta, meta.uid() + 1);
        assert_eq!(verdict.is_err(), meta.uid() != 0);
    }
}

//! Settings: the file, its defaults, and writing back what the settings page
//! changed without touching the rest of the file.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::columns;
use crate::keys::{Keymap, Preset};
use crate::theme::{Depth, OwnTheme, Theme};

/// The whole file, every setting at its default.
pub const SAMPLE: &str = include_str!("../top.toml");

/// The configuration of the whole machine.
const SYSTEM: &str = "/etc/tomte/top.toml";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else could have written it.
    #[error("{} {problem}; mend it with: {cure}", path.display())]
    Untrusted {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
        /// The command that mends it.
        cure: String,
    },
    /// It says something that makes no sense.
    #[error("{}: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and what, and what would be right.
        why: String,
    },
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The fleet is told anew at most once in so many seconds, 1 to 60.
    pub refresh: u32,
    /// Whether to ring when a host becomes critical.
    pub bell: bool,
    /// The theme's name.
    pub theme: String,
    /// Which keys to start from.
    pub preset: String,
    /// `auto`, `unicode` or `ascii`.
    pub characters: String,
    /// Whether the mouse is listened to.
    pub mouse: bool,
    /// The fleet's columns, in order; empty: the usual ones.
    pub columns: Vec<String>,
    /// The column the fleet is sorted by at first.
    pub sort: String,
    /// Whether hosts are grouped by role at first.
    pub group: bool,
    /// One's own keys, by action.
    pub keys: BTreeMap<String, Vec<String>>,
    /// One's own themes, by name.
    pub themes: BTreeMap<String, OwnTheme>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            refresh: 5,
            bell: false,
            theme: "dark".to_owned(),
            preset: Preset::Default.as_str().to_owned(),
            characters: "auto".to_owned(),
            mouse: true,
            columns: Vec::new(),
            sort: "status".to_owned(),
            group: false,
            keys: BTreeMap::new(),
            themes: BTreeMap::new(),
        }
    }
}

/// What the characters may be.
pub(crate) const CHARACTERS: [&str; 3] = ["auto", "unicode", "ascii"];

impl Config {
    /// Reads what a file says.
    ///
    /// # Errors
    /// With line and column, or the key, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if !(1..=60).contains(&config.refresh) {
            return Err(format!("refresh: {} is not from 1 to 60 seconds", config.refresh));
        }
        if !CHARACTERS.contains(&config.characters.as_str()) {
            return Err(format!("characters: {:?} is none of {}", config.characters, CHARACTERS.join(", ")));
        }
        for id in config.columns.iter().chain([&config.sort]) {
            if columns::place(id).is_none() {
                let known: Vec<_> = columns::COLUMNS.iter().map(|column| column.id).collect();
                return Err(format!("columns: there is no column {id:?}; there are {}", known.join(", ")));
            }
        }
        config.keymap()?;
        Theme::of(&config.theme, &config.themes, Depth::True)?;
        for name in config.themes.keys() {
            Theme::of(name, &config.themes, Depth::True)?;
        }
        Ok(config)
    }

    /// The keys in force.
    pub(crate) fn keymap(&self) -> Result<Keymap, String> {
        Keymap::new(self.preset.parse()?, &self.keys)
    }

    /// The fleet's columns in force, by place.
    pub(crate) fn columns(&self) -> Vec<usize> {
        if self.columns.is_empty() {
            return columns::usual();
        }
        self.columns.iter().filter_map(|id| columns::place(id)).collect()
    }

    /// Reads the file that is named, else the first that is there of
    /// [`candidates`]; the defaults where there is none.
    ///
    /// # Errors
    /// When a file cannot be read, could have been written by somebody else,
    /// or makes no sense; a file that is named must be there.
    pub fn load(named: Option<&Path>) -> Result<Loaded, ConfigError> {
        let candidates = match named {
            Some(path) => vec![path.to_owned()],
            None => candidates(rustix::process::geteuid().is_root(), |name| {
                std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
            }),
        };
        for path in &candidates {
            let Some(text) = read(path)? else { continue };
            let invalid = |why| ConfigError::Invalid { path: path.clone(), why };
            return Ok(Loaded { config: Self::parse(&text).map_err(invalid)?, file: path.clone() });
        }
        match named {
            Some(path) => Err(ConfigError::Read { path: path.to_owned(), source: io::ErrorKind::NotFound.into() }),
            // What the settings page changes is written to one's own file.
            None => Ok(Loaded {
                config: Self::default(),
                file: candidates.into_iter().next().unwrap_or_else(|| PathBuf::from(SYSTEM)),
            }),
        }
    }
}

/// The settings, and the file that changes go to.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says, or the defaults.
    pub config: Config,
    /// Where it is, or would be.
    pub file: PathBuf,
}

/// Where a configuration is looked for, in this order. Root does not read files
/// of a home directory; the working directory is never searched.
fn candidates(root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let own = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    let own = own.filter(|_| !root).map(|folder| folder.join("tomte/top.toml"));
    own.into_iter().chain([PathBuf::from(SYSTEM)]).collect()
}

fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(unreadable(source)),
    };
    let user = rustix::process::geteuid().as_raw();
    // The file behind a link, and the folder that it really lies in.
    let real = fs::canonicalize(path).map_err(unreadable)?;
    distrust(&real, &fs::metadata(&real).map_err(unreadable)?, user)?;
    if let Some(folder) = real.parent() {
        distrust(folder, &fs::metadata(folder).map_err(unreadable)?, user)?;
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

/// Writes settings into a file, whole or not at all; what else is in it,
/// comments too, stays as it is.
pub(crate) fn save(path: &Path, settings: &[(&'static str, toml::Value)]) -> Result<(), ConfigError> {
    let unwritable = |source| ConfigError::Write { path: path.to_owned(), source };
    // Through a link, so that the file behind it is what changes.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = real.parent().ok_or_else(|| unwritable(io::ErrorKind::InvalidInput.into()))?;
    fs::create_dir_all(folder).map_err(unwritable)?;
    let mut text = read(&real)?.unwrap_or_default();
    for (key, value) in settings {
        text = edited(&text, key, value);
    }
    let invalid = |why| ConfigError::Invalid { path: real.clone(), why };
    Config::parse(&text).map_err(invalid)?;
    let temporary = folder.join(format!(".top.toml.{}", std::process::id()));
    let written = (|| {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &real)?;
        fs::File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // What is left of it helps nobody.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(unwritable)
}

/// The file's text with a key of its top level set.
fn edited(text: &str, key: &'static str, value: &toml::Value) -> String {
    type Spanned = BTreeMap<String, toml::Spanned<toml::Value>>;
    let known = toml::from_str::<Spanned>(text).ok().and_then(|all| all.get(key).map(toml::Spanned::span));
    if let Some(span) = known.filter(|span| text.get(span.clone()).is_some()) {
        return format!("{}{value}{}", &text[..span.start], &text[span.end..]);
    }
    // Before the first table, since what follows belongs to it.
    let mut place = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            return format!("{}{key} = {value}\n\n{}", &text[..place], &text[place..]);
        }
        place += line.len();
    }
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{end}{key} = {value}\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_sample_is_the_defaults() {
        assert_eq!(Config::parse(SAMPLE).unwrap(), Config::default());
        let missing: Vec<_> = ["refresh", "bell", "theme", "preset", "characters", "mouse", "columns", "sort", "group"]
            .into_iter()
            .filter(|key| !SAMPLE.contains(&format!("\n{key} = ")))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_place_and_cure() {
        let complaint = |text: &str| Config::parse(text).unwrap_err();
        assert!(complaint("refresh = 0").contains("1 to 60"));
        assert!(complaint("refersh = 1").contains("line 1, column 1"), "{}", complaint("refersh = 1"));
        assert!(complaint("theme = \"pink\"").contains("high-contrast"));
        assert!(complaint("columns = [\"cpu\", \"gpu!\"]").contains("\"gpu!\""));
        assert!(complaint("preset = \"emacs\"").contains("classic"));
        assert!(complaint("characters = \"runes\"").contains("ascii"));
        assert!(complaint("[keys]\nquit = [\"x\"]\nhelp = [\"x\"]").contains("both"));
        assert!(complaint("[themes.mine]\nok = \"greenish\"").contains("themes.mine.ok"));
    }

    #[test]
    fn files_are_found_where_they_may_be() {
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/ada"));
        assert_eq!(candidates(false, home)[0], Path::new("/home/ada/.config/tomte/top.toml"));
        assert_eq!(candidates(true, home), [PathBuf::from(SYSTEM)]);
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("top.toml");
        assert!(matches!(Config::load(Some(&path)), Err(ConfigError::Read { .. })));
        fs::write(&path, "refresh = 7").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Config::load(Some(&path)).unwrap().config.refresh, 7);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let error = Config::load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("chmod go-w"), "{error}");
    }

    #[test]
    fn settings_are_written_without_touching_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/top.toml");
        save(&path, &[("refresh", 9.into())]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "refresh = 9\n");
        fs::write(&path, "# mine\nrefresh = 9 # often\ncolumns = [\n  \"cpu\",\n]\n\n[keys]\nquit = [\"x\"]\n")
            .unwrap();
        let columns = toml::Value::from(vec!["host", "disk"]);
        save(&path, &[("refresh", 20.into()), ("bell", true.into()), ("columns", columns)]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# mine\nrefresh = 20 # often\ncolumns = [\"host\", \"disk\"]\n"), "{text}");
        let config = Config::parse(&text).unwrap();
        assert!(config.bell && config.columns == ["host", "disk"] && config.keys["quit"] == ["x"]);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
    }
}

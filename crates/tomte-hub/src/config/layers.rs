//! Where values come from: defaults, the file, the environment, flags.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{HubConfig, KEYS};

/// A value given on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    /// The setting: one of [`KEYS`].
    pub key: &'static str,
    /// Its value.
    pub value: toml::Value,
    /// The flag, as people type it: `--listen`.
    pub flag: &'static str,
}

/// What the process finds around it. Passed in, so that tests have their own.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// The home folder.
    pub home: Option<PathBuf>,
    /// The user the process runs as.
    pub uid: u32,
    /// Where the system's configuration is; `/etc` but in tests.
    pub etc: PathBuf,
}

impl Surroundings {
    /// Those of this process. Variables that are not text are left out.
    #[must_use]
    pub fn of_this_process() -> Self {
        let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((key.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            environment: std::env::vars_os().filter_map(text).collect(),
            home: std::env::home_dir(),
            uid: rustix::process::geteuid().as_raw(),
            etc: PathBuf::from("/etc"),
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The file.
    File(PathBuf),
    /// A variable.
    Variable(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// Its dotted key.
    pub key: &'static str,
    /// Its value, as TOML.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The settings.
    pub config: HubConfig,
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// Every setting with its origin, in the order of the sample.
    pub settings: Vec<EffectiveSetting>,
}

impl Resolved {
    /// A configuration that did not come from any layer.
    #[must_use]
    pub fn of(config: HubConfig) -> Self {
        let table = table_of(&config);
        let settings = effective(&table, |_| Origin::Default);
        Self { config, file: None, settings }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else could have written the file.
    #[error("{} is refused: {what}; cure: {cure}", path.display())]
    Unsafe {
        /// The file or its folder.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do about it.
        cure: String,
    },
    /// The file makes no sense; the text has line and column.
    #[error("{}: {text}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        text: String,
    },
    /// A value makes no sense.
    #[error("{origin}: {key}: {why}")]
    Value {
        /// The setting.
        key: String,
        /// Where it came from.
        origin: Origin,
        /// What is wrong with it.
        why: String,
    },
}

/// Finds and reads the file, lays the environment and the flags over it, and
/// checks the result. `file` is what `--config` names; it must then be there.
///
/// # Errors
/// When something cannot be read, is not safe to believe, or makes no sense.
pub fn resolve(file: Option<&Path>, flags: &[Flag], around: &Surroundings) -> Result<Resolved, ConfigError> {
    let mut table = table_of(&HubConfig::default());
    let mut origins: Vec<(String, Origin)> = Vec::new();
    let file = match file {
        Some(path) => Some(path.to_owned()),
        None => search(around),
    };
    if let Some(path) = &file {
        for (key, value) in flatten(&read(path, around.uid)?) {
            put(&mut table, &key, value);
            origins.push((key, Origin::File(path.clone())));
        }
    }
    for key in KEYS {
        let variable = format!("TOMTE_{}", key.replace('.', "_").to_uppercase());
        if let Some((_, text)) = around.environment.iter().find(|(name, _)| *name == variable) {
            let origin = Origin::Variable(variable);
            let value = from_text(get(&table, key), text).map_err(|why| ConfigError::Value {
                key: (*key).to_owned(),
                origin: origin.clone(),
                why,
            })?;
            put(&mut table, key, value);
            origins.push(((*key).to_owned(), origin));
        }
    }
    for flag in flags {
        put(&mut table, flag.key, flag.value.clone());
        origins.push((flag.key.to_owned(), Origin::Flag(flag.flag)));
    }
    let origin_of =
        |key: &str| origins.iter().rev().find(|(k, _)| k == key).map_or(Origin::Default, |(_, origin)| origin.clone());
    let mut config = typed(&table, origin_of)?;
    let password = around.environment.iter().find(|(name, value)| name == super::mqtt::PASSWORD && !value.is_empty());
    config.mqtt.password = password.map(|(_, text)| tomte_mqtt::settings::Secret::new(text.as_str()));
    config.check().map_err(|(key, why)| ConfigError::Value { key: key.to_owned(), origin: origin_of(key), why })?;
    let settings = effective(&table_of(&config), origin_of);
    Ok(Resolved { config, file, settings })
}

/// The file to read when none is named: the first that is there. Never in the
/// working directory, which may be anybody's.
fn search(around: &Surroundings) -> Option<PathBuf> {
    let own = around.home.as_ref().filter(|_| around.uid != 0).map(|home| home.join(".config/tomte/hub.toml"));
    own.into_iter().chain([around.etc.join("tomte/hub.toml")]).find(|path| path.exists())
}

fn read(path: &Path, uid: u32) -> Result<toml::Table, ConfigError> {
    let fail = |source| ConfigError::Read { path: path.to_owned(), source };
    // The check is on the open file, so that it cannot be swapped in between.
    let mut opened = std::fs::File::open(path).map_err(fail)?;
    check_safe(path, &opened.metadata().map_err(fail)?, uid)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    check_safe(folder, &std::fs::metadata(folder).map_err(fail)?, uid)?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut opened, &mut text).map_err(fail)?;
    let wrong = |error: toml::de::Error| ConfigError::File {
        path: path.to_owned(),
        text: error.to_string().trim_end().to_owned(),
    };
    // Read into the typed form first: its errors have line and column.
    toml::from_str::<HubConfig>(&text).map_err(wrong)?;
    toml::from_str(&text).map_err(wrong)
}

/// Whether nobody but root and the running user could have written it.
fn check_safe(path: &Path, meta: &std::fs::Metadata, uid: u32) -> Result<(), ConfigError> {
    let refuse = |what: String, cure: String| ConfigError::Unsafe { path: path.to_owned(), what, cure };
    if meta.uid() != 0 && meta.uid() != uid {
        return Err(refuse(
            format!("it belongs to user {}, neither to root nor to the running user", meta.uid()),
            format!("chown root {}", path.display()),
        ));
    }
    let sticky = meta.is_dir() && meta.mode() & 0o1000 != 0;
    if meta.mode() & 0o002 != 0 && !sticky {
        return Err(refuse("everybody may write it".to_owned(), format!("chmod o-w {}", path.display())));
    }
    // A group of one's own (the same number as the user's) is nobody else.
    if meta.mode() & 0o020 != 0 && !sticky && meta.gid() != 0 && meta.gid() != uid {
        return Err(refuse(format!("group {} may write it", meta.gid()), format!("chmod g-w {}", path.display())));
    }
    Ok(())
}

/// Makes the typed form; on failure finds the key to blame.
fn typed(table: &toml::Table, origin_of: impl Fn(&str) -> Origin) -> Result<HubConfig, ConfigError> {
    let whole = match table.clone().try_into::<HubConfig>() {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    for (key, value) in flatten(table) {
        let mut alone = toml::Table::new();
        put(&mut alone, &key, value);
        if let Err(error) = alone.try_into::<HubConfig>() {
            let why = error.message().trim_end().to_owned();
            return Err(ConfigError::Value { origin: origin_of(&key), key, why });
        }
    }
    Err(ConfigError::Value { key: String::new(), origin: Origin::Default, why: whole.message().to_owned() })
}

/// A variable's text as the type that the setting has.
fn from_text(like: Option<&toml::Value>, text: &str) -> Result<toml::Value, String> {
    match like {
        Some(toml::Value::Boolean(_)) => {
            text.parse().map(toml::Value::Boolean).map_err(|_| format!("{text:?} is neither true nor false"))
        }
        Some(toml::Value::Integer(_)) => {
            text.parse().map(toml::Value::Integer).map_err(|_| format!("{text:?} is not a whole number"))
        }
        Some(toml::Value::Array(_)) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(toml::Value::Array(items.map(|item| toml::Value::String(item.to_owned())).collect()))
        }
        _ => Ok(toml::Value::String(text.to_owned())),
    }
}

fn table_of(config: &HubConfig) -> toml::Table {
    toml::Table::try_from(config).expect("every setting has a form in TOML")
}

/// The leaves of a table by dotted key.
pub(super) fn flatten(table: &toml::Table) -> Vec<(String, toml::Value)> {
    let mut leaves = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => {
                leaves.extend(flatten(inner).into_iter().map(|(k, v)| (format!("{key}.{k}"), v)));
            }
            leaf => leaves.push((key.clone(), leaf.clone())),
        }
    }
    leaves
}

fn get<'a>(table: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((first, rest)) => get(table.get(first)?.as_table()?, rest),
    }
}

fn put(table: &mut toml::Table, key: &str, value: toml::Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let Some(inner) = inner.as_table_mut() {
                put(inner, rest, value);
            }
        }
    }
}

fn effective(table: &toml::Table, origin_of: impl Fn(&str) -> Origin) -> Vec<EffectiveSetting> {
    let setting = |&key: &&'static str| {
        let value = get(table, key).map(ToString::to_string).unwrap_or_default();
        EffectiveSetting { key, value, origin: origin_of(key) }
    };
    KEYS.iter().map(setting).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn around(folder: &Path, environment: &[(&str, &str)]) -> Surroundings {
        Surroundings {
            environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            home: Some(folder.join("home")),
            uid: rustix::process::geteuid().as_raw(),
            etc: folder.join("etc"),
        }
    }

    fn file(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("etc/tomte/hub.toml");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    #[test]
    fn later_layers_win_and_each_value_knows_where_it_came_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "public_url = 'https://file'\nlimits.hosts = 7\n[presence]\ngrace = '5m'\n");
        let around = around(
            folder.path(),
            &[("TOMTE_LIMITS_HOSTS", "8"), ("TOMTE_LISTEN", "[::1]:1, 127.0.0.1:2"), ("TOMTE_X", "1")],
        );
        let flag = Flag { key: "public_url", value: "https://flag".into(), flag: "--public-url" };
        let resolved = resolve(None, &[flag], &around).unwrap();
        assert_eq!(resolved.file, Some(path.clone()), "found without being named");
        assert_eq!(resolved.config.public_url, "https://flag");
        assert_eq!(resolved.config.limits.hosts, 8);
        assert_eq!(resolved.config.listen.len(), 2);
        let origin = |key| resolved.settings.iter().find(|s| s.key == key).unwrap().origin.clone();
        assert_eq!(origin("public_url"), Origin::Flag("--public-url"));
        assert_eq!(origin("limits.hosts"), Origin::Variable("TOMTE_LIMITS_HOSTS".into()));
        assert_eq!(origin("presence.grace"), Origin::File(path));
        assert_eq!(origin("presence.late"), Origin::Default);
        let grace = resolved.settings.iter().find(|s| s.key == "presence.grace").unwrap();
        assert_eq!(grace.value, "\"5m\"");
        assert_eq!(resolved.settings.len(), KEYS.len());
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_named_with_line_and_column() {
        let folder = tempfile::tempdir().unwrap();
        for (text, place, what) in [
            ("\nlimits.hosst = 7\n", "line 2, column 8", "hosst"),
            ("listen = 'x'\n", "line 1, column 10", "string"),
            ("presence.late = '5 weeks'", "line 1, column 17", "5 weeks"),
            ("listen = [", "line 1", "array"),
        ] {
            let path = file(folder.path(), text);
            let error = resolve(Some(&path), &[], &around(folder.path(), &[])).unwrap_err().to_string();
            assert!(error.contains(place) && error.contains(what) && error.contains("hub.toml"), "{error}");
        }
    }

    #[test]
    fn a_wrong_variable_or_flag_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (variable, value) in
            [("TOMTE_LIMITS_HOSTS", "many"), ("TOMTE_PRESENCE_LATE", "soon"), ("TOMTE_LISTEN", "x")]
        {
            let error = resolve(None, &[], &around(folder.path(), &[(variable, value)])).unwrap_err().to_string();
            assert!(error.contains(variable), "{error}");
        }
        let flag = Flag { key: "public_url", value: "nonsense".into(), flag: "--public-url" };
        let error = resolve(None, &[flag], &around(folder.path(), &[])).unwrap_err().to_string();
        assert!(error.contains("--public-url"), "{error}");
    }

    #[test]
    fn what_others_could_have_written_is_refused_with_the_cure() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "");
        let surroundings = around(folder.path(), &[]);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let error = resolve(None, &[], &surroundings).unwrap_err().to_string();
        assert!(error.contains("chmod o-w"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(resolve(None, &[], &surroundings), Err(ConfigError::Unsafe { .. })));
        std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(resolve(None, &[], &surroundings).is_ok());
        let meta = std::fs::metadata(&path).unwrap();
        if meta.uid() != 0 {
            let stranger = Surroundings { uid: meta.uid() + 1, ..surroundings };
            let error = resolve(Some(&path), &[], &stranger).unwrap_err().to_string();
            assert!(error.contains("chown"), "{error}");
        }
    }

    #[test]
    fn without_a_file_the_defaults_hold_and_a_named_file_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = around(folder.path(), &[]);
        assert_eq!(resolve(None, &[], &surroundings).unwrap().config, HubConfig::default());
        assert!(matches!(
            resolve(Some(&folder.path().join("none")), &[], &surroundings),
            Err(ConfigError::Read { .. })
        ));
    }
}

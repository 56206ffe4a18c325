//! What package managers print of the packages that they would update, each asked
//! so that it looks at what it already knows and refreshes nothing.

/// A package that would be updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    /// Empty where it is not told.
    pub(super) installed: String,
    pub(super) offered: String,
    /// `None` where the manager does not tell.
    pub(super) security: Option<bool>,
}

/// More than any system has installed.
const MOST: usize = 20_000;

/// `apt-get --simulate dist-upgrade`: lines `Inst NAME [OLD] (NEW ORIGINS [ARCH]) …`;
/// without an old version it is a package that comes along.
pub(super) fn apt(text: &str) -> Vec<Package> {
    let package = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(" [")?;
        let (installed, rest) = rest.split_once("] (")?;
        let (offer, _) = rest.split_once(')')?;
        let (offered, origins) = offer.split_once(' ').unwrap_or((offer, ""));
        // `Debian-Security:12/stable-security`, `Ubuntu:24.04/noble-security`.
        let security = origins.split(',').any(|origin| origin.contains("-Security:") || origin.contains("-security"));
        Some(Package {
            name: short(name),
            installed: short(installed),
            offered: short(offered),
            security: Some(security),
        })
    };
    text.lines().filter_map(package).take(MOST).collect()
}

/// `pacman -Qu`: lines `NAME OLD -> NEW`, with `[ignored]` behind what is held.
pub(super) fn pacman(text: &str) -> Vec<Package> {
    let package = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, installed, "->", offered] = words.as_slice() else { return None };
        Some(Package { name: short(name), installed: short(installed), offered: short(offered), security: None })
    };
    text.lines().filter_map(package).take(MOST).collect()
}

/// `apk version -l '<'`: lines `NAME-OLD < NEW` under a heading.
pub(super) fn apk(text: &str) -> Vec<Package> {
    let package = |line: &str| {
        let (left, offered) = line.split_once(" < ")?;
        // The version is behind the last hyphen but one: musl-1.2.5-r0.
        let left = left.trim();
        let (front, _) = left.rsplit_once('-')?;
        let (name, _) = front.rsplit_once('-')?;
        let installed = left.get(name.len() + 1..)?;
        Some(Package {
            name: short(name),
            installed: short(installed),
            offered: short(offered.split_whitespace().next()?),
            security: None,
        })
    };
    text.lines().filter_map(package).take(MOST).collect()
}

/// `dnf -C -q check-update`: lines `NAME.ARCH VERSION REPOSITORY`; what obsoletes
/// others follows under a heading and is not counted again.
pub(super) fn dnf(text: &str) -> Vec<Package> {
    let package = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, offered, _repository] = words.as_slice() else { return None };
        let (name, _) = name.rsplit_once('.')?;
        Some(Package { name: short(name), installed: String::new(), offered: short(offered), security: None })
    };
    let updates = text.lines().take_while(|line| !line.to_ascii_lowercase().starts_with("obsoleting packages"));
    updates.filter_map(package).take(MOST).collect()
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

//! The settings page: what can be changed without editing the file.

use crate::columns::COLUMNS;
use crate::config::{CHARACTERS, Config};
use crate::keys::Preset;
use crate::list::Cursor;
use crate::theme::BUILT_IN;

/// The lengths of time offered, in seconds.
const REFRESH: [u32; 7] = [1, 2, 5, 10, 20, 30, 60];

/// A line of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    Refresh,
    Bell,
    Theme,
    Keys,
    Characters,
    Mouse,
    Group,
    /// A column of the fleet, by place.
    Column(usize),
}

/// Every line, in order.
pub(crate) fn items() -> Vec<Item> {
    let plain = [Item::Refresh, Item::Bell, Item::Theme, Item::Keys, Item::Characters, Item::Mouse, Item::Group];
    // Without its name a host could not be told from another.
    let columns = (0..COLUMNS.len()).filter(|place| COLUMNS[*place].id != "host").map(Item::Column);
    plain.into_iter().chain(columns).collect()
}

/// The page, as it lies over another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) cursor: Cursor,
}

impl Item {
    /// What it is.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Bell => "bell",
            Self::Theme => "theme",
            Self::Keys => "keys",
            Self::Characters => "characters",
            Self::Mouse => "mouse",
            Self::Group => "group",
            Self::Column(place) => COLUMNS[place].id,
        }
    }

    /// What it does.
    pub(crate) fn help(self) -> &'static str {
        match self {
            Self::Refresh => "the fleet is told anew at most so often",
            Self::Bell => "ring when a host becomes critical",
            Self::Theme => "colours",
            Self::Keys => "the keys to start from",
            Self::Characters => "what lines and marks are drawn with",
            Self::Mouse => "click to select and sort, wheel to scroll",
            Self::Group => "group hosts by role",
            Self::Column(place) => COLUMNS[place].help,
        }
    }

    /// What it is set to.
    pub(crate) fn value(self, config: &Config) -> String {
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        match self {
            Self::Refresh => format!("{} s", config.refresh),
            Self::Bell => yes(config.bell),
            Self::Theme => config.theme.clone(),
            Self::Keys => config.preset.clone(),
            Self::Characters => config.characters.clone(),
            Self::Mouse => yes(config.mouse),
            Self::Group => yes(config.group),
            Self::Column(place) => if config.columns().contains(&place) { "shown" } else { "hidden" }.to_owned(),
        }
    }

    /// The next value, or the one before. Returns what to write down.
    pub(crate) fn change(self, config: &mut Config, forward: bool) -> (&'static str, toml::Value) {
        match self {
            Self::Refresh => {
                let seconds = i64::from(config.refresh);
                let next = REFRESH.into_iter().map(i64::from).find(|offered| *offered > seconds).unwrap_or(1);
                let before = REFRESH.into_iter().map(i64::from).rev().find(|offered| *offered < seconds).unwrap_or(60);
                config.refresh = u32::try_from(if forward { next } else { before }).unwrap_or(5);
                ("refresh", i64::from(config.refresh).into())
            }
            Self::Bell => {
                config.bell = !config.bell;
                ("bell", config.bell.into())
            }
            Self::Theme => {
                let themes: Vec<String> =
                    BUILT_IN.into_iter().map(str::to_owned).chain(config.themes.keys().cloned()).collect();
                config.theme = other(&themes, &config.theme, forward);
                ("theme", config.theme.clone().into())
            }
            Self::Keys => {
                let presets = Preset::ALL.map(|preset| preset.as_str().to_owned());
                let preset = other(&presets, &config.preset, forward);
                let before = std::mem::replace(&mut config.preset, preset);
                // One's own keys may not go with the other preset.
                if config.keymap().is_err() {
                    config.preset = before;
                }
                ("preset", config.preset.clone().into())
            }
            Self::Characters => {
                config.characters = other(&CHARACTERS.map(str::to_owned), &config.characters, forward);
                ("characters", config.characters.clone().into())
            }
            Self::Mouse => {
                config.mouse = !config.mouse;
                ("mouse", config.mouse.into())
            }
            Self::Group => {
                config.group = !config.group;
                ("group", config.group.into())
            }
            Self::Column(place) => {
                let mut columns = config.columns();
                match columns.iter().position(|known| *known == place) {
                    Some(known) => drop(columns.remove(known)),
                    None => {
                        // Where it usually is among those that are there.
                        let before = columns.iter().position(|known| *known > place).unwrap_or(columns.len());
                        columns.insert(before, place);
                    }
                }
                config.columns = columns.into_iter().map(|place| COLUMNS[place].id.to_owned()).collect();
                ("columns", config.columns.clone().into())
            }
        }
    }
}

fn other(all: &[String], present: &str, forward: bool) -> String {
    let place = all.iter().position(|known| known == present).unwrap_or(0);
    let step = if forward { 1 } else { all.len() - 1 };
    all[(place + step) % all.len()].clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_setting_goes_round_and_what_is_written_is_read() {
        for item in items() {
            for forward in [true, false] {
                let mut config = Config::default();
                let before = item.value(&config);
                let (key, value) = item.change(&mut config, forward);
                assert_ne!(item.value(&config), before, "{item:?}");
                let text = format!("{key} = {value}\n");
                assert_eq!(Config::parse(&text).unwrap(), config, "{text}");
                for _ in 0..20 {
                    if item.value(&config) == before {
                        break;
                    }
                    item.change(&mut config, forward);
                }
                assert_eq!(item.value(&config), before, "{item:?}");
            }
        }
    }

    #[test]
    fn a_time_that_is_not_offered_goes_to_the_next_that_is() {
        let mut config = Config { refresh: 7, ..Config::default() };
        Item::Refresh.change(&mut config, true);
        assert_eq!(config.refresh, 10);
        config.refresh = 7;
        Item::Refresh.change(&mut config, false);
        assert_eq!(config.refresh, 5);
    }
}

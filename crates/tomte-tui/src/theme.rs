//! Colours: the built-in themes, one's own over them, and what of it a terminal
//! can show. Nothing is told by colour alone; with `NO_COLOR` nothing is lost.

use std::collections::BTreeMap;

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;
use tomte_model::{Severity, Status};

/// The themes that are built in.
pub const BUILT_IN: [&str; 4] = ["dark", "light", "high-contrast", "mono"];

/// How many colours a terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// None, or none wanted.
    None,
    /// The sixteen that every terminal with colour has.
    Sixteen,
    /// The 256 of xterm.
    Indexed,
    /// All of them.
    True,
}

impl Depth {
    /// What the environment says: `NO_COLOR`, `COLORTERM`, `TERM`.
    #[must_use]
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        if variable("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            return Self::None;
        }
        let term = variable("TERM").unwrap_or_default();
        if term == "dumb" {
            return Self::None;
        }
        match variable("COLORTERM").as_deref() {
            Some("truecolor" | "24bit") => Self::True,
            _ if term.contains("256") || term.contains("direct") => Self::Indexed,
            _ => Self::Sixteen,
        }
    }
}

/// One's own theme, as the configuration has it: colours by role, over the
/// built-in theme that `base` names; dark when absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct OwnTheme(pub BTreeMap<String, String>);

/// What is no role, but the theme to start from.
const BASE: &str = "base";

/// The roles that a theme gives colours to, with what each is for.
pub const ROLES: [(&str, &str); 13] = [
    ("text", "what is written"),
    ("dim", "what matters less: units, labels, what is stale"),
    ("accent", "titles, keys, what is chosen"),
    ("border", "frames"),
    ("focus", "the frame of the panel that has the keyboard"),
    ("selection", "behind the selected row"),
    ("ok", "in order"),
    ("unknown", "cannot be judged"),
    ("warning", "somebody should look"),
    ("critical", "somebody should look now"),
    ("graph", "charts and meters"),
    ("second", "the second line of a chart"),
    ("background", "behind everything; default leaves the terminal's own"),
];

/// The styles in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Theme {
    pub(crate) base: Style,
    pub(crate) dim: Style,
    pub(crate) accent: Style,
    pub(crate) border: Style,
    pub(crate) focus: Style,
    pub(crate) selection: Style,
    pub(crate) graph: Style,
    pub(crate) second: Style,
    ok: Style,
    unknown: Style,
    pub(crate) warning: Style,
    pub(crate) critical: Style,
}

/// A palette in the order of [`ROLES`].
type Palette = [Color; ROLES.len()];

const fn rgb(value: u32) -> Color {
    Color::Rgb((value >> 16) as u8, (value >> 8) as u8, value as u8)
}

const DARK: Palette = [
    Color::Reset,
    rgb(0x008a_919e),
    rgb(0x0061_afef),
    rgb(0x0050_5764),
    rgb(0x0061_afef),
    rgb(0x002f_3644),
    rgb(0x0098_c379),
    rgb(0x00c6_78dd),
    rgb(0x00e5_c07b),
    rgb(0x00f0_6f78),
    rgb(0x0056_b6c2),
    rgb(0x00c6_a0f6),
    Color::Reset,
];

const LIGHT: Palette = [
    Color::Reset,
    rgb(0x006a_7280),
    rgb(0x0020_62b8),
    rgb(0x00b4_bac4),
    rgb(0x0020_62b8),
    rgb(0x00d8_e4f6),
    rgb(0x0026_7a38),
    rgb(0x0086_3ba8),
    rgb(0x009a_6200),
    rgb(0x00c4_2b3a),
    rgb(0x0013_7a8a),
    rgb(0x0074_45c0),
    Color::Reset,
];

const HIGH_CONTRAST: Palette = [
    rgb(0x00ff_ffff),
    rgb(0x00d8_d8d8),
    rgb(0x0000_ffff),
    rgb(0x00ff_ffff),
    rgb(0x00ff_ff00),
    rgb(0x0000_40c0),
    rgb(0x0000_ff00),
    rgb(0x00ff_80ff),
    rgb(0x00ff_ff00),
    rgb(0x00ff_6060),
    rgb(0x0000_ffff),
    rgb(0x00ff_80ff),
    rgb(0x0000_0000),
];

impl Theme {
    /// The theme of that name, with one's own over it.
    ///
    /// # Errors
    /// With a sentence when there is no such theme, role or colour.
    pub(crate) fn of(name: &str, own: &BTreeMap<String, OwnTheme>, depth: Depth) -> Result<Self, String> {
        let Some(theme) = own.get(name) else {
            let palette = built_in(name).ok_or_else(|| no_such(name, own))?;
            return Ok(Self::from(palette, depth, name));
        };
        let base = theme.0.get(BASE).map_or("dark", String::as_str);
        let mut palette = built_in(base).ok_or_else(|| {
            format!("themes.{name}.base: there is no built-in theme {base:?}; there are {}", BUILT_IN.join(", "))
        })?;
        for (role, text) in theme.0.iter().filter(|(role, _)| *role != BASE) {
            let place = ROLES.iter().position(|(known, _)| known == role).ok_or_else(|| {
                let known: Vec<_> = ROLES.iter().map(|(role, _)| *role).collect();
                format!("themes.{name}.{role}: no such colour; there are base, {}", known.join(", "))
            })?;
            palette[place] = colour(text).ok_or_else(|| {
                format!(
                    "themes.{name}.{role}: {text:?} is no colour; write \"#rrggbb\", a number from 0 to 255, \
                     a name such as \"bright-blue\", or \"default\""
                )
            })?;
        }
        Ok(Self::from(palette, depth, base))
    }

    fn from(palette: Palette, depth: Depth, base: &str) -> Self {
        let depth = if base == "mono" { Depth::None } else { depth };
        let [text, dim, accent, border, focus, selection, ok, unknown, warning, critical, graph, second, background] =
            palette.map(|colour| shown(colour, depth));
        let over = |colour: Color| Style::new().fg(colour).bg(background);
        let plain = depth == Depth::None;
        let selected = if plain { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new().bg(selection) };
        Self {
            base: over(text),
            dim: if plain { over(dim).add_modifier(Modifier::DIM) } else { over(dim) },
            accent: over(accent).add_modifier(Modifier::BOLD),
            border: if plain { over(border).add_modifier(Modifier::DIM) } else { over(border) },
            focus: over(focus).add_modifier(Modifier::BOLD),
            selection: selected,
            graph: over(graph),
            second: over(second),
            ok: over(ok),
            unknown: over(unknown),
            warning: over(warning).add_modifier(Modifier::BOLD),
            critical: over(critical).add_modifier(Modifier::BOLD),
        }
    }

    /// How a status is written.
    pub(crate) fn status(&self, status: Option<Status>) -> Style {
        match status {
            None => self.dim,
            Some(Status::Ok) => self.ok,
            Some(Status::Unknown) => self.unknown,
            Some(Status::Warning) => self.warning,
            Some(Status::Critical) => self.critical,
        }
    }

    /// How a severity is written.
    pub(crate) fn severity(&self, severity: Severity) -> Style {
        match severity {
            Severity::Info => self.dim,
            Severity::Warning => self.warning,
            Severity::Error | Severity::Critical => self.critical,
        }
    }
}

fn built_in(name: &str) -> Option<Palette> {
    Some(match name {
        "dark" => DARK,
        "light" => LIGHT,
        "high-contrast" => HIGH_CONTRAST,
        "mono" => [Color::Reset; ROLES.len()],
        _ => return None,
    })
}

fn no_such(name: &str, own: &BTreeMap<String, OwnTheme>) -> String {
    let known: Vec<&str> = BUILT_IN.into_iter().chain(own.keys().map(String::as_str)).collect();
    format!("theme: there is no theme {name:?}; there are {}", known.join(", "))
}

/// A colour as people write it.
fn colour(text: &str) -> Option<Color> {
    if let Some(hex) = text.strip_prefix('#') {
        let digits = hex.len() == 6 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        return u32::from_str_radix(hex, 16).ok().filter(|_| digits).map(rgb);
    }
    if let Ok(index) = text.parse::<u8>() {
        return Some(Color::Indexed(index));
    }
    const NAMES: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
    let (bright, name) = text.strip_prefix("bright-").map_or((0, text), |name| (8, name));
    if text == "default" {
        return Some(Color::Reset);
    }
    NAMES.into_iter().zip(0_u8..).find(|(known, _)| *known == name).map(|(_, index)| Color::Indexed(index + bright))
}

/// The nearest colour that a terminal can show.
fn shown(colour: Color, depth: Depth) -> Color {
    match (depth, colour) {
        (Depth::None, _) => Color::Reset,
        (Depth::Indexed, Color::Rgb(r, g, b)) => Color::Indexed(indexed(r, g, b)),
        (Depth::Sixteen, Color::Rgb(r, g, b)) => sixteen(r, g, b),
        (Depth::Sixteen, Color::Indexed(index)) if index > 15 => {
            let (r, g, b) = of_index(index);
            sixteen(r, g, b)
        }
        _ => colour,
    }
}

/// The levels of the colour cube of xterm's 256 colours.
const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];

fn of_index(index: u8) -> (u8, u8, u8) {
    match index {
        16..=231 => {
            let cube = usize::from(index - 16);
            (LEVELS[cube / 36], LEVELS[cube / 6 % 6], LEVELS[cube % 6])
        }
        232.. => {
            let grey = 8 + (index - 232) * 10;
            (grey, grey, grey)
        }
        // The first sixteen are whatever the terminal makes of them.
        _ => (128, 128, 128),
    }
}

fn distance(a: (u8, u8, u8), b: (u8, u8, u8)) -> u32 {
    let square = |x: u8, y: u8| u32::from(x.abs_diff(y)).pow(2);
    square(a.0, b.0) + square(a.1, b.1) + square(a.2, b.2)
}

fn indexed(r: u8, g: u8, b: u8) -> u8 {
    (16..=255_u8).min_by_key(|index| distance(of_index(*index), (r, g, b))).unwrap_or(7)
}

/// By hue, not by distance: a muted red must not become grey.
fn sixteen(r: u8, g: u8, b: u8) -> Color {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    if most - least < 40 {
        return match most {
            0..=63 => Color::Black,
            64..=159 => Color::DarkGray,
            160..=223 => Color::Gray,
            224.. => Color::White,
        };
    }
    let middle = least + (most - least) / 2;
    match (r > middle, g > middle, b > middle) {
        (true, false, false) => Color::Red,
        (false, true, false) => Color::Green,
        (true, true, _) => Color::Yellow,
        (false, false, true) => Color::Blue,
        (true, false, true) => Color::Magenta,
        (false, true, true) => Color::Cyan,
        (false, false, false) => Color::Gray,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn own(text: &str) -> BTreeMap<String, OwnTheme> {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn every_built_in_theme_is_there_in_every_depth() {
        for name in BUILT_IN {
            for depth in [Depth::None, Depth::Sixteen, Depth::Indexed, Depth::True] {
                let theme = Theme::of(name, &BTreeMap::new(), depth).unwrap();
                let plain = theme.status(Some(Status::Critical)).fg == Some(Color::Reset);
                assert_eq!(plain, name == "mono" || depth == Depth::None, "{name} {depth:?}");
            }
        }
    }

    #[test]
    fn ones_own_theme_goes_over_a_built_in_one() {
        let own = own("[night]\nbase = \"light\"\nok = \"#010203\"\nwarning = \"bright-yellow\"\ntext = \"250\"");
        let theme = Theme::of("night", &own, Depth::True).unwrap();
        assert_eq!(theme.status(Some(Status::Ok)).fg, Some(Color::Rgb(1, 2, 3)));
        assert_eq!(theme.status(Some(Status::Warning)).fg, Some(Color::Indexed(11)));
        assert_eq!(theme.base.fg, Some(Color::Indexed(250)));
        assert_eq!(theme.accent.fg, Some(LIGHT[2]));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let complaint = |text: &str, name: &str| Theme::of(name, &own(text), Depth::True).unwrap_err();
        assert!(complaint("", "solarised").contains("high-contrast"));
        assert!(complaint("[a]\nbase = \"b\"", "a").contains("themes.a.base"));
        assert!(complaint("[a]\nokay = \"red\"", "a").contains("critical"));
        assert!(complaint("[a]\nok = \"#12\"", "a").contains("#rrggbb"));
        assert!(complaint("[a]\nok = \"#+12345\"", "a").contains("#rrggbb"));
    }

    #[test]
    fn terminals_with_few_colours_keep_the_hue() {
        assert_eq!(shown(DARK[9], Depth::Sixteen), Color::Red);
        assert_eq!(shown(DARK[8], Depth::Sixteen), Color::Yellow);
        assert_eq!(shown(DARK[6], Depth::Sixteen), Color::Green);
        assert_eq!(shown(rgb(0x00ff_0000), Depth::Indexed), Color::Indexed(196));
    }

    #[test]
    fn the_environment_says_how_many_colours_there_are() {
        let depth = |pairs: &[(&str, &str)]| {
            Depth::detect(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(depth(&[("TERM", "xterm-256color"), ("NO_COLOR", "1")]), Depth::None);
        assert_eq!(depth(&[("TERM", "xterm-256color"), ("NO_COLOR", "")]), Depth::Indexed);
        assert_eq!(depth(&[("TERM", "xterm"), ("COLORTERM", "truecolor")]), Depth::True);
        assert_eq!(depth(&[("TERM", "linux")]), Depth::Sixteen);
        assert_eq!(depth(&[("TERM", "dumb")]), Depth::None);
    }
}

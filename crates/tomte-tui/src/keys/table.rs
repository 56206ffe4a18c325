//! The list of all keys. A row is all there is to a key: its names in the
//! configuration and in the help, where it works, and which keys it is.

use std::str::FromStr;

/// Which set of keys to start from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Preset {
    /// As in bottom, k9s and vi.
    #[default]
    Default,
    /// As in cm-dashboard: h hosts, r refresh, s settings, a alerts.
    Classic,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Default, Self::Classic];

    /// Its name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Classic => "classic",
        }
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|preset| preset.as_str() == text);
        found.ok_or_else(|| format!("preset: there is no preset {text:?}; there are default, classic"))
    }
}

/// Where on the screen a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Wherever nothing else is said.
    Everywhere,
    /// In the list of hosts.
    Fleet,
    /// On the page of a host.
    Host,
    /// In a chart.
    Chart,
    /// In the list of events.
    Events,
}

impl Scope {
    /// All of them, in the help's order.
    pub const ALL: [Self; 5] = [Self::Everywhere, Self::Fleet, Self::Host, Self::Chart, Self::Events];

    /// For people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Everywhere => "Everywhere",
            Self::Fleet => "Fleet",
            Self::Host => "Host",
            Self::Chart => "Chart",
            Self::Events => "Events",
        }
    }
}

macro_rules! bindings {
    ($($scope:ident { $($action:ident $name:literal [$($key:literal)*] $(classic [$($classic:literal)*])? $help:literal;)* })*) => {
        /// What a key does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action {
            $($(#[doc = $help] $action,)*)*
        }

        /// Every key.
        pub(crate) const BINDINGS: &[Binding] = &[
            $($(Binding {
                scope: Scope::$scope,
                action: Action::$action,
                name: $name,
                usual: &[$($key),*],
                classic: bindings!(@classic [$($key)*] $([$($classic)*])?),
                help: $help,
            },)*)*
        ];
    };
    (@classic [$($key:literal)*]) => { &[$($key),*] };
    (@classic [$($key:literal)*] [$($classic:literal)*]) => { &[$($classic),*] };
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) scope: Scope,
    pub(crate) action: Action,
    /// In the configuration.
    pub(crate) name: &'static str,
    usual: &'static [&'static str],
    classic: &'static [&'static str],
    /// In the help and the docs.
    pub(crate) help: &'static str,
}

impl Binding {
    /// Its keys in a preset.
    pub(crate) fn keys(&self, preset: Preset) -> &'static [&'static str] {
        match preset {
            Preset::Default => self.usual,
            Preset::Classic => self.classic,
        }
    }
}

bindings! {
    Everywhere {
        Quit "quit" ["q" "ctrl-c"] "Close what lies on top; leave, when nothing does";
        Help "help" ["?" "f1"] "Show the keys";
        Back "back" ["esc"] "Back: close, clear the filter, leave the zoom, leave the page";
        Open "open" ["enter"] "Open what is selected";
        Down "down" ["j" "down"] classic ["down"] "Down";
        Up "up" ["k" "up"] classic ["up"] "Up";
        Left "left" ["h" "left"] classic ["left"] "Left; on a host's page, the panel to the left";
        Right "right" ["l" "right"] classic ["right"] "Right; on a host's page, the panel to the right";
        Top "top" ["g g" "home"] "To the top";
        Bottom "bottom" ["G" "end"] "To the bottom";
        HalfDown "half_down" ["ctrl-d"] "Down half a screen";
        HalfUp "half_up" ["ctrl-u"] "Up half a screen";
        PageDown "page_down" ["pagedown" "ctrl-f"] classic ["pagedown"] "Down a screen";
        PageUp "page_up" ["pageup" "ctrl-b"] classic ["pageup"] "Up a screen";
        Next "next" ["tab"] "The next panel, or the next page";
        Previous "previous" ["shift-tab"] "The panel or page before";
        Filter "filter" ["/"] "Show only what matches, as you type";
        Search "search" ["ctrl-k"] "Find a host, service, guest, container, address or tag in the whole fleet";
        Fleet "fleet" ["1"] classic ["h" "1"] "The fleet: a line a host";
        HostPage "host" ["2"] "The host: a panel for everything it has";
        Events "events" ["3"] "The events: what happened";
        Alerts "alerts" ["a"] "The events that ask for somebody to look";
        Settings "settings" ["o" "f2"] classic ["s" "f2"] "Settings: refresh, bell, columns, theme";
        Refresh "refresh" ["r" "f5"] "Have the host, or all of them, read anew now";
        Freeze "freeze" ["f"] "Freeze the screen, and let it go on";
        StepBack "step_back" ["T"] "A minute back in time: the whole screen as it was";
        StepForward "step_forward" ["t"] "A minute on, towards the present";
        LeapBack "leap_back" ["("] "An hour back in time";
        LeapForward "leap_forward" [")"] "An hour on";
        Jump "jump" ["J"] "Jump in time: to the selected event, else to what you type (-3h, 14:30, a date)";
        Play "play" ["space"] "Play the past, a minute a second";
        Present "present" ["n"] "Back to the present";
        Suspend "suspend" ["ctrl-z"] "Leave for the shell; fg returns";
    }
    Fleet {
        Sort "sort" ["s"] classic ["S"] "Choose the column to sort by";
        Reverse "reverse" ["R"] "Sort the other way round";
        Group "group" ["b"] "Group by role";
        NextColumn "next_column" [">" "."] "Sort by the next column";
        PreviousColumn "previous_column" ["<" ","] "Sort by the column before";
    }
    Host {
        Zoom "zoom" ["e"] "Let the panel fill the screen, and back";
        NextHost "next_host" ["L" "}"] "The next host of the fleet";
        PreviousHost "previous_host" ["H" "{"] "The host before";
    }
    Chart {
        ZoomIn "zoom_in" ["+" "="] "Look closer";
        ZoomOut "zoom_out" ["-"] "See more";
        PanLeft "pan_left" ["H" "["] "Earlier";
        PanRight "pan_right" ["L" "]"] "Later";
        Newest "newest" ["0"] "Back to the newest readings";
    }
    Events {
        Severity "severity" ["v"] "Only what is at least so severe: info, warning, error, critical";
    }
}

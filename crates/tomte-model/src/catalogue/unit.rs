//! Units, how their values are written for people, and the steps that values
//! are rounded to.

use serde::{Deserialize, Serialize};

use crate::Name;

/// What a number is measured in. Base units only; people see them scaled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Name", into = "Name")]
pub enum Unit {
    /// A plain number: processes, load.
    Number,
    /// A part of a whole, 0 to 1; shown in per cent.
    Ratio,
    /// Bytes; shown with binary prefixes.
    Bytes,
    /// Bytes per second; shown with binary prefixes.
    BytesPerSecond,
    /// Things per second.
    PerSecond,
    /// A duration.
    Seconds,
    /// Degrees Celsius.
    Celsius,
    /// Cycles per second; shown with decimal prefixes.
    Hertz,
    /// Revolutions per minute.
    RevolutionsPerMinute,
    /// Power.
    Watts,
    /// Electric potential.
    Volts,
    /// Electric current.
    Amperes,
    /// Something this version does not know; shown as it is.
    Other(Name),
}

impl From<Name> for Unit {
    fn from(name: Name) -> Self {
        Self::from_name(&name)
    }
}

impl From<Unit> for Name {
    fn from(unit: Unit) -> Self {
        unit.as_str().to_owned().into()
    }
}

impl Unit {
    /// The name that configuration, the wire and the API use.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Number => "number",
            Self::Ratio => "ratio",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes_per_second",
            Self::PerSecond => "per_second",
            Self::Seconds => "seconds",
            Self::Celsius => "celsius",
            Self::Hertz => "hertz",
            Self::RevolutionsPerMinute => "rpm",
            Self::Watts => "watts",
            Self::Volts => "volts",
            Self::Amperes => "amperes",
            Self::Other(name) => name,
        }
    }

    /// The unit of that name; never fails, since others may know more units.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        const KNOWN: [Unit; 12] = [
            Unit::Number,
            Unit::Ratio,
            Unit::Bytes,
            Unit::BytesPerSecond,
            Unit::PerSecond,
            Unit::Seconds,
            Unit::Celsius,
            Unit::Hertz,
            Unit::RevolutionsPerMinute,
            Unit::Watts,
            Unit::Volts,
            Unit::Amperes,
        ];
        KNOWN.into_iter().find(|unit| unit.as_str() == name).unwrap_or_else(|| Self::Other(name.to_owned().into()))
    }

    /// What a field of this unit must end in, if anything.
    #[must_use]
    pub fn suffix(&self) -> Option<&'static str> {
        Some(match self {
            Self::Number | Self::Other(_) => return None,
            Self::Ratio => "_ratio",
            Self::Bytes => "_bytes",
            Self::BytesPerSecond => "_bytes_per_second",
            Self::PerSecond => "_per_second",
            Self::Seconds => "_seconds",
            Self::Celsius => "_celsius",
            Self::Hertz => "_hertz",
            Self::RevolutionsPerMinute => "_rpm",
            Self::Watts => "_watts",
            Self::Volts => "_volts",
            Self::Amperes => "_amperes",
        })
    }

    /// A value as people write it: `93 %`, `1.2 GiB`, `45.0 °C`, `3 d 4 h`.
    #[must_use]
    pub fn format(&self, value: f64) -> String {
        match self {
            Self::Number => plain(value),
            Self::Ratio => {
                let percent = value * 100.0;
                if percent.abs() < 10.0 && percent != 0.0 {
                    format!("{percent:.1} %")
                } else {
                    format!("{percent:.0} %")
                }
            }
            Self::Bytes => scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"]),
            Self::BytesPerSecond => scaled(value, 1024.0, &["B/s", "KiB/s", "MiB/s", "GiB/s", "TiB/s"]),
            Self::PerSecond => format!("{}/s", plain(value)),
            Self::Seconds => duration(value),
            Self::Celsius => format!("{value:.1} °C"),
            Self::Hertz => scaled(value, 1000.0, &["Hz", "kHz", "MHz", "GHz"]),
            Self::RevolutionsPerMinute => format!("{value:.0} rpm"),
            Self::Watts => format!("{value:.1} W"),
            Self::Volts => format!("{value:.2} V"),
            Self::Amperes => format!("{value:.2} A"),
            Self::Other(name) => format!("{} {name}", plain(value)),
        }
    }
}

/// At most two decimals, none where there are none.
fn plain(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn scaled(value: f64, base: f64, prefixes: &[&str]) -> String {
    let mut scaled = value;
    let mut prefix = 0;
    // 999.95 would be written as 1000.0: step up a little before the base.
    while scaled.abs() >= base * 0.9995 && prefix + 1 < prefixes.len() {
        scaled /= base;
        prefix += 1;
    }
    let decimals = usize::from(prefix > 0 && scaled.abs() < 99.95);
    format!("{scaled:.decimals$} {}", prefixes[prefix])
}

fn duration(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "-" } else { "" };
    let s = seconds.abs();
    let parts = |a: f64, a_unit: &str, b: f64, b_unit: &str| {
        if b >= 1.0 { format!("{sign}{a:.0} {a_unit} {b:.0} {b_unit}") } else { format!("{sign}{a:.0} {a_unit}") }
    };
    // Whole seconds first, so that 59.9 s does not become "0 min 60 s".
    let whole = s.round();
    if s < 0.000_999_5 {
        format!("{sign}{:.0} µs", s * 1e6)
    } else if s < 0.999_5 {
        format!("{sign}{:.0} ms", s * 1e3)
    } else if s < 9.95 {
        format!("{sign}{s:.1} s")
    } else if whole < 60.0 {
        format!("{sign}{whole:.0} s")
    } else if whole < 3600.0 {
        parts((whole / 60.0).floor(), "min", whole % 60.0, "s")
    } else if whole < 86_400.0 {
        parts((whole / 3600.0).floor(), "h", (whole % 3600.0 / 60.0).floor(), "min")
    } else {
        parts((whole / 86_400.0).floor(), "d", (whole % 86_400.0 / 3600.0).floor(), "h")
    }
}

/// The step a value is rounded to: ten to this power. Rounded values travel
/// and rest as integers of this step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "i8", into = "i8")]
pub struct Resolution(i8);

impl From<i8> for Resolution {
    fn from(exponent: i8) -> Self {
        Self::power_of_ten(exponent)
    }
}

impl From<Resolution> for i8 {
    fn from(resolution: Resolution) -> Self {
        resolution.exponent()
    }
}

impl Resolution {
    /// Whole numbers.
    pub const ONE: Self = Self(0);
    /// 0.1
    pub const TENTH: Self = Self(-1);
    /// 0.01
    pub const HUNDREDTH: Self = Self(-2);
    /// 0.001
    pub const THOUSANDTH: Self = Self(-3);
    /// 0.0001, what ratios use.
    pub const BASIS_POINT: Self = Self(-4);
    /// 0.000001, what durations use.
    pub const MICRO: Self = Self(-6);
    /// A million, what frequencies use.
    pub const MILLION: Self = Self(6);

    /// Ten to the power of `exponent`, -9 to 9; values outside are clamped.
    #[must_use]
    pub const fn power_of_ten(exponent: i8) -> Self {
        if exponent < -9 {
            Self(-9)
        } else if exponent > 9 {
            Self(9)
        } else {
            Self(exponent)
        }
    }

    /// The power of ten.
    #[must_use]
    pub const fn exponent(self) -> i8 {
        self.0
    }

    /// The value in steps, rounded to the nearest. `None` when it is not
    /// finite or does not fit into 63 bits.
    #[must_use]
    pub fn to_steps(self, value: f64) -> Option<i64> {
        let factor = POWERS[self.0.unsigned_abs() as usize];
        let steps = if self.0 <= 0 { value * factor } else { value / factor };
        let steps = steps.round();
        // Both bounds are exact in f64 and inside i64.
        (steps.abs() <= 9_007_199_254_740_992.0 * 1024.0 * 0.999).then_some(steps as i64)
    }

    /// The value of so many steps.
    #[must_use]
    pub fn from_steps(self, steps: i64) -> f64 {
        let factor = POWERS[self.0.unsigned_abs() as usize];
        // Division by an exact power of ten rounds once, so that the result is
        // the double nearest to the decimal.
        if self.0 <= 0 { steps as f64 / factor } else { steps as f64 * factor }
    }

    /// The value rounded to this step; missing when it is not finite.
    #[must_use]
    pub fn round(self, value: f64) -> Option<f64> {
        self.to_steps(value).map(|steps| self.from_steps(steps))
    }
}

const POWERS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_read_as_people_write_them() {
        for (unit, value, text) in [
            (Unit::Number, 3.0, "3"),
            (Unit::Number, 0.256, "0.26"),
            (Unit::Number, -0.001, "-0"),
            (Unit::Ratio, 0.93, "93 %"),
            (Unit::Ratio, 0.031, "3.1 %"),
            (Unit::Ratio, 0.0, "0 %"),
            (Unit::Bytes, 0.0, "0 B"),
            (Unit::Bytes, 1023.0, "1023 B"),
            (Unit::Bytes, 1024.0, "1.0 KiB"),
            (Unit::Bytes, 1_288_490_189.0, "1.2 GiB"),
            (Unit::BytesPerSecond, 5e8, "477 MiB/s"),
            (Unit::Hertz, 3.4e9, "3.4 GHz"),
            (Unit::Celsius, 45.25, "45.2 °C"),
            (Unit::Seconds, 0.000_25, "250 µs"),
            (Unit::Seconds, 0.25, "250 ms"),
            (Unit::Seconds, 2.5, "2.5 s"),
            (Unit::Seconds, 59.9, "1 min"),
            (Unit::Seconds, 3_725.0, "1 h 2 min"),
            (Unit::Seconds, 273_600.0, "3 d 4 h"),
            (Unit::PerSecond, 12.0, "12/s"),
            (Unit::from_name("lux"), 3.0, "3 lux"),
        ] {
            assert_eq!(unit.format(value), text, "{unit:?} {value}");
            assert_eq!(Unit::from_name(unit.as_str()), unit);
        }
    }

    proptest! {
        #[test]
        fn rounding_is_exact_and_stable(steps in -1_000_000_000_000_i64..1_000_000_000_000, exponent in -9_i8..=9) {
            let resolution = Resolution::power_of_ten(exponent);
            let value = resolution.from_steps(steps);
            prop_assert_eq!(resolution.to_steps(value), Some(steps));
            prop_assert_eq!(resolution.round(value), Some(value));
        }

        #[test]
        fn any_double_is_safe(value: f64, exponent: i8) {
            let resolution = Resolution::power_of_ten(exponent);
            if let Some(rounded) = resolution.round(value) {
                prop_assert!(rounded.is_finite());
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_missing() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert_eq!(Resolution::ONE.to_steps(value), None);
        }
        assert_eq!(Resolution::TENTH.round(45.25), Some(45.3));
    }
}

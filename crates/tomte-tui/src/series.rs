//! Readings over time: kept within bounds, and laid out in as many slots as
//! there are columns to draw.

use std::collections::VecDeque;

use tomte_api::history::Series;
use tomte_model::Timestamp;

/// How many points are kept.
const KEPT: usize = 600;

/// No readings are further apart, in milliseconds: ten years.
const APART: i64 = 315_360_000_000;

/// The years that are believed: 1970 to 9999, in milliseconds.
const TIMES: std::ops::Range<i64> = 0..253_402_300_800_000;

/// Whether it can be drawn: what lies beyond is no reading of anything.
fn drawable(value: f64) -> bool {
    value.abs() < 1e30
}

/// A reading at a time, with the extremes around it where it stands for
/// several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) at: i64,
    pub(crate) mean: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// A reading over time, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Points {
    points: VecDeque<Point>,
    /// How far apart points are usually, in milliseconds; beyond twice and a
    /// half of it there is a gap.
    pub(crate) interval: i64,
}

impl Points {
    /// Readings that come as often as `interval` milliseconds.
    pub(crate) fn every(interval: i64) -> Self {
        Self { points: VecDeque::new(), interval }
    }

    /// The answer to a question about the past.
    pub(crate) fn of(series: &Series, shared: Option<&[i64]>, step: Option<u64>) -> Self {
        let times = series.t.as_deref().or(shared).unwrap_or_default();
        let mean = series.mean.as_deref().or(series.last.as_deref()).unwrap_or_default();
        let (min, max) = (series.min.as_deref().unwrap_or(mean), series.max.as_deref().unwrap_or(mean));
        let interval = i64::try_from(step.unwrap_or(0).max(series.interval_ms)).unwrap_or(APART).min(APART);
        let points = times.iter().zip(mean).zip(min.iter().zip(max)).filter_map(|((at, mean), (min, max))| {
            let mean = mean.filter(|mean| drawable(*mean) && TIMES.contains(at))?;
            let or_mean = |value: &Option<f64>| value.filter(|value| drawable(*value)).unwrap_or(mean);
            Some(Point { at: *at, mean, min: or_mean(min), max: or_mean(max) })
        });
        let mut points: Vec<Point> = points.collect();
        points.sort_by_key(|point| point.at);
        let mut all = Self { points: points.into(), interval };
        all.bound();
        all
    }

    /// The newest reading; one that is not newer than the last is known already.
    pub(crate) fn push(&mut self, at: Timestamp, value: f64) {
        let at = at.millis();
        if !drawable(value) || !TIMES.contains(&at) || self.points.back().is_some_and(|last| last.at >= at) {
            return;
        }
        self.points.push_back(Point { at, mean: value, min: value, max: value });
        self.bound();
    }

    /// Puts what was before in front of what is known.
    pub(crate) fn precede(&mut self, mut past: Self) {
        let first = self.points.front().map_or(i64::MAX, |point| point.at);
        past.points.retain(|point| point.at < first);
        past.points.append(&mut self.points);
        self.points = past.points;
        self.interval = self.interval.max(past.interval);
        self.bound();
    }

    fn bound(&mut self) {
        while self.points.len() > KEPT {
            self.points.pop_front();
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Point> {
        self.points.iter()
    }

    /// `count` slots from `from` to `to`: what each one's readings come to; a
    /// slot without readings has what was read last, until that is too old.
    pub(crate) fn slots(&self, from: i64, to: i64, count: usize) -> Vec<Option<Point>> {
        let mut slots: Vec<Option<Point>> = vec![None; count];
        let span = to.saturating_sub(from);
        if span <= 0 || count == 0 {
            return slots;
        }
        let mut weights = vec![0_u32; count];
        let usual = self.usual_gap();
        let mut paces = vec![usual; count];
        let mut before: Option<(Point, i64)> = None;
        let mut pace = Pace::default();
        for point in &self.points {
            let apart = pace.at(point.at).unwrap_or(usual).max(usual);
            if point.at < from {
                before = Some((*point, apart));
                continue;
            }
            if point.at > to {
                break;
            }
            let place = (i128::from(point.at - from) * count as i128 / i128::from(span)) as usize;
            let place = place.min(count - 1);
            let weight = weights[place];
            slots[place] = Some(match slots[place] {
                None => *point,
                Some(known) => Point {
                    at: point.at,
                    mean: (known.mean * f64::from(weight) + point.mean) / f64::from(weight + 1),
                    min: known.min.min(point.min),
                    max: known.max.max(point.max),
                },
            });
            weights[place] += 1;
            paces[place] = apart;
        }
        let last = self.points.back().map_or(i64::MIN, |point| point.at);
        let mut held = before;
        for (place, slot) in slots.iter_mut().enumerate() {
            if let Some(slot) = *slot {
                held = Some((slot, paces[place]));
                continue;
            }
            let begins = from + (span as i128 * place as i128 / count as i128) as i64;
            // Behind the newest reading nothing is known yet.
            let reaches = |(known, apart): &(Point, i64)| {
                let reach = (apart * 5 / 2).max(span / count as i64);
                begins - known.at <= reach && begins <= last
            };
            if let Some((known, _)) = held.filter(reaches) {
                *slot = Some(Point { min: known.mean, max: known.mean, ..known });
            }
        }
        slots
    }

    /// How far apart readings are: as was said, or as they are for the most part.
    fn usual_gap(&self) -> i64 {
        let mut gaps: Vec<i64> =
            self.points.iter().zip(self.points.iter().skip(1)).map(|(a, b)| b.at.saturating_sub(a.at)).collect();
        let middle = gaps.len() / 2;
        let usual = if gaps.is_empty() { 0 } else { *gaps.select_nth_unstable(middle).1 };
        self.interval.max(usual).max(1_000)
    }

    /// The same with everything so much lower, for an axis that does not begin
    /// at nothing.
    pub(crate) fn lowered(mut self, by: f64) -> Self {
        for point in &mut self.points {
            (point.mean, point.min, point.max) = (point.mean - by, point.min - by, point.max - by);
        }
        self
    }

    /// The least, mean and greatest between two moments.
    pub(crate) fn summary(&self, from: i64, to: i64) -> Option<Point> {
        let within = self.points.iter().filter(|point| (from..=to).contains(&point.at));
        let mut count = 0.0;
        let folded = within.fold(None::<Point>, |sum, point| {
            count += 1.0;
            Some(match sum {
                None => *point,
                Some(sum) => Point {
                    at: point.at,
                    mean: sum.mean + point.mean,
                    min: sum.min.min(point.min),
                    max: sum.max.max(point.max),
                },
            })
        });
        folded.map(|sum| Point { mean: sum.mean / count, ..sum })
    }
}

/// How far apart readings were when one was taken: the smaller of the two
/// distances before it, so that a time without any readings is no pace.
#[derive(Default)]
struct Pace {
    last: Option<i64>,
    gap: Option<i64>,
}

impl Pace {
    /// The pace at the next reading; `None` where too little is known.
    fn at(&mut self, at: i64) -> Option<i64> {
        let gap = self.last.replace(at).map(|last| at.saturating_sub(last))?;
        let before = self.gap.replace(gap)?;
        Some(before.min(gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[(i64, f64)]) -> Points {
        let mut points = Points::every(10_000);
        for (at, value) in values {
            points.push(Timestamp::from_millis(*at), *value);
        }
        points
    }

    fn means(slots: &[Option<Point>]) -> Vec<Option<f64>> {
        slots.iter().map(|slot| slot.map(|slot| slot.mean)).collect()
    }

    #[test]
    fn slots_hold_means_and_carry_on_until_too_old() {
        let known = points(&[(0, 1.0), (5_000, 3.0), (10_000, 5.0), (60_000, 7.0)]);
        let slots = known.slots(0, 70_000, 7);
        assert_eq!(means(&slots), [Some(2.0), Some(5.0), Some(5.0), Some(5.0), None, None, Some(7.0)]);
        assert_eq!(slots[0].map(|slot| (slot.min, slot.max)), Some((1.0, 3.0)));
        assert_eq!(means(&known.slots(0, 0, 3)), [None, None, None]);
        assert!(known.slots(0, 10, 0).is_empty());
    }

    #[test]
    fn what_was_read_rarely_has_no_gaps_because_more_is_read_now() {
        let rarely = (0..20).map(|n| (n * 30_000, 1.0));
        let often = (0..100).map(|n| (600_000 + n * 1_000, 2.0));
        let known = points(&rarely.chain(often).collect::<Vec<_>>());
        let slots = known.slots(0, 690_000, 69);
        assert!(slots.iter().all(Option::is_some), "{:?}", means(&slots));
        // A time without readings still is one, on either side.
        let known =
            points(&(0..=10).map(|n| n * 30_000).chain([900_000, 1_500_000]).map(|at| (at, 1.0)).collect::<Vec<_>>());
        let gaps = known.slots(0, 1_510_000, 151).iter().filter(|slot| slot.is_none()).count();
        assert!(gaps > 90, "{gaps}");
    }

    #[test]
    fn the_past_goes_before_what_is_known() {
        let mut known = points(&[(30_000, 3.0)]);
        known.precede(points(&[(10_000, 1.0), (20_000, 2.0), (30_000, 9.0)]));
        assert_eq!(known.iter().map(|point| point.mean).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
        known.push(Timestamp::from_millis(30_000), 8.0);
        known.push(Timestamp::from_millis(31_000), f64::NAN);
        assert_eq!(known.iter().count(), 3, "neither told twice nor not a number");
    }

    #[test]
    fn memory_is_bounded() {
        let mut known = Points::every(1_000);
        for at in 0..10_000 {
            known.push(Timestamp::from_millis(at), 1.0);
        }
        assert_eq!(known.iter().count(), KEPT);
    }

    #[test]
    fn history_is_read_with_its_gaps() {
        let series = Series {
            mean: Some(vec![Some(1.0), None, Some(3.0)]),
            min: Some(vec![Some(0.5), None, Some(2.0)]),
            max: Some(vec![Some(1.5), None, Some(4.0)]),
            ..Series::default()
        };
        let read = Points::of(&series, Some(&[0, 60_000, 120_000]), Some(60_000));
        assert_eq!(read.iter().count(), 2);
        let all = read.summary(0, 200_000);
        assert_eq!(all.map(|all| (all.min, all.mean, all.max)), Some((0.5, 2.0, 4.0)));
        assert_eq!(read.summary(10, 20), None);
    }
}

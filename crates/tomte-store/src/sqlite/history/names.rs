//! The names of all series, in memory, so that a question finds its series
//! without reading the database.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rusqlite::Connection;
use tomte_model::{HostId, Resolution, ResourceKey};

use crate::codec::AS_DOUBLE;
use crate::history::{Series, SeriesKey};
use crate::sqlite::Fault;

/// A series as it is kept. The same field is another series when its
/// resolution changes or another collector brings it.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) kind: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) field: Arc<str>,
    pub(super) number: u64,
    pub(super) collector: i64,
    pub(super) exponent: i8,
}

impl Named {
    fn words(&self) -> (&str, &str, &str) {
        (&self.kind, &self.name, &self.field)
    }

    fn order(&self) -> (&str, &str, &str, u64) {
        (&self.kind, &self.name, &self.field, self.number)
    }

    fn key(&self, host: HostId) -> SeriesKey {
        let resource = ResourceKey::new(self.kind.to_string(), self.name.to_string());
        SeriesKey { host, resource, field: self.field.to_string().into() }
    }
}

/// The exponents of a collector's series.
#[derive(Debug, Default)]
pub(super) struct Exponents(HashMap<i64, Vec<(u64, i8)>>);

impl Exponents {
    /// `None` for a series that is not known (any more).
    pub(super) fn of(&self, collector: i64, series: u64) -> Option<i8> {
        let series_of = self.0.get(&collector)?;
        let index = series_of.binary_search_by_key(&series, |(number, _)| *number).ok()?;
        Some(series_of[index].1)
    }

    fn put(&mut self, collector: i64, series: u64, exponent: i8) {
        let series_of = self.0.entry(collector).or_default();
        match series_of.binary_search_by_key(&series, |(number, _)| *number) {
            Ok(index) => series_of[index].1 = exponent,
            Err(index) => series_of.insert(index, (series, exponent)),
        }
    }
}

/// The names of all series.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By kind, name, field, number.
    hosts: HashMap<HostId, Vec<Named>>,
    pub(super) exponents: Exponents,
    /// Words that many series share.
    words: HashSet<Arc<str>>,
}

impl Names {
    pub(super) fn load(connection: &Connection) -> Result<Self, Fault> {
        let mut names = Self::default();
        let mut hosts = HashMap::new();
        let mut statement = connection.prepare("SELECT number, id FROM host")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            hosts.insert(row.get::<_, i64>(0)?, HostId::from_bytes(row.get(1)?));
        }
        let mut statement = connection
            .prepare("SELECT host, kind, name, field, number, collector, exponent FROM series ORDER BY number")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Some(host) = hosts.get(&row.get::<_, i64>(0)?) else { continue };
            let mut word = |at: usize| -> rusqlite::Result<Arc<str>> {
                Ok(names.word(row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?))
            };
            let (kind, name, field) = (word(1)?, word(2)?, word(3)?);
            let number = row.get::<_, i64>(4)?.cast_unsigned();
            let named = Named { kind, name, field, number, collector: row.get(5)?, exponent: row.get(6)? };
            names.exponents.put(named.collector, number, named.exponent);
            names.hosts.entry(*host).or_default().push(named);
        }
        for series in names.hosts.values_mut() {
            series.sort_by(|a, b| a.order().cmp(&b.order()));
        }
        Ok(names)
    }

    fn word(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.words.get(word) {
            return Arc::clone(known);
        }
        let word: Arc<str> = word.into();
        self.words.insert(Arc::clone(&word));
        word
    }

    /// Adds a series.
    pub(super) fn add(&mut self, host: HostId, mut named: Named) {
        named.kind = self.word(&named.kind);
        named.name = self.word(&named.name);
        named.field = self.word(&named.field);
        self.exponents.put(named.collector, named.number, named.exponent);
        let series = self.hosts.entry(host).or_default();
        match series.binary_search_by(|other| other.order().cmp(&named.order())) {
            Ok(index) => series[index] = named,
            Err(index) => series.insert(index, named),
        }
    }

    /// Forgets a host; returns its collectors.
    pub(super) fn remove_host(&mut self, host: HostId) -> Vec<i64> {
        let series = self.hosts.remove(&host).unwrap_or_default();
        let collectors: HashSet<i64> = series.iter().map(|series| series.collector).collect();
        for collector in &collectors {
            self.exponents.0.remove(collector);
        }
        self.drop_unused();
        collectors.into_iter().collect()
    }

    /// Forgets series by number.
    pub(super) fn remove(&mut self, numbers: &HashSet<u64>) {
        for series in self.hosts.values_mut() {
            series.retain(|series| !numbers.contains(&series.number));
        }
        self.hosts.retain(|_, series| !series.is_empty());
        for series in self.exponents.0.values_mut() {
            series.retain(|(number, _)| !numbers.contains(number));
        }
        self.exponents.0.retain(|_, series| !series.is_empty());
        self.drop_unused();
    }

    fn drop_unused(&mut self) {
        self.words.retain(|word| Arc::strong_count(word) > 1);
    }

    /// How many series there are.
    pub(super) fn count(&self) -> u64 {
        self.hosts.values().map(|series| series.len() as u64).sum()
    }

    /// All series of a host, by key; of one that is kept in several ways the
    /// newest says how it is now.
    pub(super) fn series(&self, host: HostId) -> Vec<Series> {
        let series = self.hosts.get(&host).map_or(&[][..], Vec::as_slice);
        let of = |same: &[Named]| {
            let last = same.last()?;
            let resolution = (last.exponent != AS_DOUBLE).then(|| Resolution::power_of_ten(last.exponent));
            Some(Series { key: last.key(host), resolution })
        };
        series.chunk_by(|a, b| a.words() == b.words()).filter_map(of).collect()
    }

    /// The series of some hosts that are wanted.
    pub(super) fn find(&self, hosts: &[HostId], wanted: &dyn Fn(&str, &str, &str) -> bool) -> Vec<SeriesKey> {
        let mut found = Vec::new();
        for host in hosts {
            let series = self.hosts.get(host).map_or(&[][..], Vec::as_slice);
            for same in series.chunk_by(|a, b| a.words() == b.words()) {
                if let Some(first) = same.first().filter(|named| wanted(&named.kind, &named.name, &named.field)) {
                    found.push(first.key(*host));
                }
            }
        }
        found
    }

    /// How a series is kept.
    pub(super) fn of(&self, key: &SeriesKey) -> &[Named] {
        let Some(series) = self.hosts.get(&key.host) else { return &[] };
        let words = (&*key.resource.kind, key.resource.name.as_str(), &*key.field);
        let start = series.partition_point(|named| named.words() < words);
        let count = series[start..].partition_point(|named| named.words() == words);
        &series[start..start + count]
    }

    /// Kind and field of all series, by number.
    pub(super) fn fields(&self) -> BTreeMap<u64, (Arc<str>, Arc<str>)> {
        let all = self.hosts.values().flatten();
        all.map(|named| (named.number, (Arc::clone(&named.kind), Arc::clone(&named.field)))).collect()
    }
}

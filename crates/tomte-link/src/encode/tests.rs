#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use tomte_model::report::Outcome;
use tomte_model::{Assessment, BootId, Moment, Position, Problem, Status, Table, Value};

use super::*;
use crate::decode::{Decoded, LaneDecoder};

const HEAD: Head = Head { epoch: 1, boot_id: BootId(0), interval_millis: 0, clock_synchronised: true };

fn facet(seed: u8) -> Facet {
    let name = format!("disk{}", seed % 5);
    let mut facet = Facet::owner("disk", name, if seed.is_multiple_of(3) { "io" } else { "smart" });
    for n in 0..seed % 7 {
        facet.read(format!("field{n}"), f64::from(seed) / f64::from(n + 1));
    }
    facet.text("model", "x".repeat(usize::from(seed)));
    if seed % 4 == 1 {
        let row = vec![Some(Value::Text("row".repeat(usize::from(seed)))), None, Some(Value::Number(1.0))];
        facet.tables.push(Table { name: "t".into(), columns: vec!["c".into()], rows: vec![row; 3] });
    }
    if seed % 4 == 2 {
        let reason = "full ".repeat(usize::from(seed));
        let since = tomte_model::Timestamp::default();
        let problem = Problem { field: "field1".into(), status: Status::Warning, reason, since };
        facet.assessment = Some(Assessment::of(vec![problem]));
    }
    facet
}

fn report(sequence: u64, seeds: &[u8]) -> Report {
    let scope = |chunk: &[u8]| match chunk {
        [seed, ..] if seed % 11 == 0 => {
            Scope::failed(format!("s{}", seed % 3), Outcome::Failed { error: "e".repeat(usize::from(*seed)) })
        }
        seeds => Scope::complete(format!("s{}", seeds[0] % 3), seeds.iter().copied().map(facet).collect()),
    };
    Report {
        host: HostId::from_parts(0, 1),
        collector: format!("collector{}", seeds.first().unwrap_or(&0) % 3).into(),
        position: Position { epoch: 1, sequence },
        boot_id: BootId(0),
        moment: Moment::default(),
        clock_synchronised: true,
        interval_millis: 10_000,
        scopes: seeds.chunks(4).map(scope).collect(),
        events: Vec::new(),
    }
}

proptest! {
    /// An encoder that counted less than the hub would be thrown out by it.
    #[test]
    fn both_ends_count_the_same(series in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 1..40)) {
        let (limits, host) = (Limits::default(), HostId::from_parts(0, 1));
        let mut encoder = LaneEncoder::new(Lane::Live, limits.clone(), host, HEAD);
        let mut decoder = LaneDecoder::new(Lane::Live, limits, host, HEAD);
        for (sequence, seeds) in (1..).zip(&series) {
            let report = report(sequence, seeds);
            let encoded = encoder.encode(&report, None).unwrap();
            let mut budget = encoded.unfolded;
            for (frame_type, body) in &encoded.frames {
                let frame = wire::Frame { frame_type: *frame_type, body: Some(body) };
                if *frame_type == to_hub::PART {
                    decoder.part(frame.read("part").unwrap()).unwrap();
                } else {
                    let decoded = decoder.report(frame.read("report").unwrap(), &mut budget).unwrap();
                    prop_assert!(matches!(decoded, Decoded::Report(arrived) if arrived.scopes.len() == report.scopes.len()));
                }
            }
            prop_assert_eq!(budget, 0, "what a report unfolds to");
            prop_assert_eq!(encoder.memory, decoder.memory());
        }
    }
}

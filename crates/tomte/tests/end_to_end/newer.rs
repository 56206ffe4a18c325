//! An agent that is newer than the hub, and knows kinds that the hub does not:
//! they are described over the link, stored, and shown generically.

use std::borrow::Cow;
use std::time::Duration;

use tomte_api::history::HistoryQuery;
use tomte_model::catalogue::{AttributeDef, FacetDef, FieldDef};
use tomte_model::{Catalogue, Direction, Facet, KindDef, Resolution, Scope, Threshold, Unit};

use super::support::*;
use super::whole_way::check_metrics;

/// What no version of ours knows.
fn aquarium() -> KindDef {
    let warm = Threshold {
        direction: Direction::Above,
        warning: Some(28.0),
        critical: Some(32.0),
        clear_gap: 0.5,
        hold: Duration::ZERO,
    };
    let temperature =
        FieldDef::new("main", "water_celsius", Unit::Celsius, Resolution::TENTH, "How warm the water is.");
    KindDef {
        name: "aquarium".into(),
        help: "A tank with fish.".into(),
        key: "The name on the tank.".into(),
        facets: Cow::Owned(vec![FacetDef { name: "main".into(), owner: true }]),
        fields: Cow::Owned(vec![
            FieldDef { threshold: Some(warm), phrase: "{name} is {value}".into(), ..temperature },
            FieldDef::new("main", "fish", Unit::Number, Resolution::ONE, "How many swim."),
        ]),
        attributes: Cow::Owned(vec![AttributeDef::new("main", "species", "Who swims.")]),
        tables: Cow::Borrowed(&[]),
    }
}

#[test]
fn a_kind_that_only_the_agent_knows_is_kept_and_shown() {
    let mut hub = Hub::start();
    in_time("the fish", async {
        let mut catalogue = Catalogue::builtin();
        assert!(catalogue.describe(aquarium()));
        let (host, token) = enrol(&hub, "reef").await;
        let agent = SimulatedAgent::start("reef", host, token, hub.address(), catalogue);
        for celsius in [24.26, 29.0] {
            let mut facet = Facet::owner("aquarium", "living room", "main");
            facet.read("water_celsius", celsius);
            facet.read("fish", 7.0);
            facet.text("species", "clownfish");
            agent.submit("tanks", vec![Scope::complete("tanks", vec![facet])]);
            agent.until_all_acked().await;
        }
        agent.stop().await;
    });
    // Also after a crash: descriptions are kept, too.
    for restarted in [false, true] {
        if restarted {
            hub.kill_and_restart();
        }
        let shown = hub.json(&["resource", "list", "--kind", "aquarium"]);
        let tank = &shown[0];
        assert_eq!((&tank["name"], &tank["host"]), (&"living room".into(), &"reef".into()), "{shown}");
        assert_eq!(tank["readings"], serde_json::json!({ "water_celsius": 29.0, "fish": 7.0 }));
        assert_eq!((&tank["status"], &tank["attributes"]["species"]), (&"warning".into(), &"clownfish".into()));
        assert!(tank["reason"].as_str().unwrap().contains("living room is 29"), "{tank}");
        let catalogue = hub.tomte(&["catalogue", "aquarium"]);
        assert!(catalogue.contains("A tank with fish.") && catalogue.contains("water_celsius"), "{catalogue}");
        let now = hub.tomte(&["query", "aquarium", "fish"]);
        assert!(now.contains("living room") && now.contains('7'), "{now}");
        let query = HistoryQuery {
            series: vec!["reef/aquarium:living room/water_celsius".into()],
            from: Some("-1h".into()),
            ..Default::default()
        };
        let history = block_on(hub.client().history(&query)).unwrap();
        assert_eq!(history.series[0].mean, Some(vec![Some(24.3), Some(29.0)]), "rounded as the agent declared");
        assert_eq!(history.series[0].unit, "celsius");
        let metrics = block_on(hub.client().metrics()).unwrap();
        assert!(metrics.contains("# HELP tomte_aquarium_water_celsius How warm the water is."), "{metrics}");
        assert!(metrics.contains("tomte_aquarium_fish{host=\"reef\""));
        check_metrics(&metrics);
    }
}

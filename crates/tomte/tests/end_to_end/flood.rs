//! A host that offers more series than it may keep: its history is bounded, it
//! is said once, and what is live is shown all the same.

use tomte_api::client::ResourceFilter;
use tomte_api::history::HistoryQuery;
use tomte_model::{Facet, Scope};

use super::support::*;

#[test]
fn a_flood_of_series_is_bounded_and_reported() {
    let hub = Hub::configured("[limits]\nseries_per_host = 50\n");
    in_time("the flood", async {
        let client = hub.client();
        let agent = SimulatedAgent::new(&hub, "reef").await;
        let mut watcher = Watcher::all(&client).await;
        // New names every time, as a runaway naming scheme would make.
        for round in 0..20 {
            let disks = (0..30).map(|disk| {
                let mut facet = Facet::owner("disk", format!("{round}-{disk}"), "io");
                facet.read("read_bytes_per_second", 1.0);
                facet
            });
            agent.submit("disk", vec![Scope::complete("disk", disks.collect())]);
        }
        agent.until_all_acked().await;
        let told = watcher.event("series_limit").await;
        assert_eq!(told.details["kept"], "50", "{told:?}");
        let from = Some("-1h".to_owned());
        let query = HistoryQuery { host: vec!["reef".into()], kind: vec!["disk".into()], from, ..Default::default() };
        let kept = client.history(&query).await.unwrap().series;
        assert_eq!(kept.len(), 50);
        assert_eq!(counter(&client, "tomte_hub_readings_over_limit_total").await, 20 * 30 - 50);
        let filter = ResourceFilter { kinds: vec!["disk".into()], ..Default::default() };
        assert_eq!(client.resources(&filter).await.unwrap().len(), 30, "the latest ones are shown");
        // The series that there are go on, and so do other hosts.
        // Which these are depends on what was sent first: live goes before backlog.
        let first = kept[0].key.clone();
        let name = first.trim_start_matches("reef/disk:").trim_end_matches("/read_bytes_per_second");
        let mut facet = Facet::owner("disk", name.to_owned(), "io");
        facet.read("read_bytes_per_second", 2.0);
        agent.submit("disk", vec![Scope::complete("disk", vec![facet])]);
        agent.until_all_acked().await;
        let series = vec![first];
        let query = HistoryQuery { series, from: Some("-1h".into()), ..Default::default() };
        let mean = client.history(&query).await.unwrap().series.remove(0).mean;
        assert_eq!(mean, Some(vec![Some(1.0), Some(2.0)]));
        let other = SimulatedAgent::new(&hub, "pond").await;
        other.flood(5).await;
        other.until_all_acked().await;
        assert_eq!(events(&client, "series_limit").await.len(), 1, "said once");
    });
}

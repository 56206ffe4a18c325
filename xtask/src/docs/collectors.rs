//! `docs/reference/collectors.md`: every collector, from the list that runs them.

use tomte_agent::collectors;
use tomte_model::Unit;

use super::markdown::{code, head, table};

/// The page.
pub(super) fn page() -> String {
    let mut page = head("Collectors");
    page.push_str(
        "What the agent reads, and how often. Each collector can be switched off or given another interval in its own\n\
         section, such as `[collectors.process]`, of the [agent's configuration](agent-config.md). When a run takes\n\
         longer than its deadline, or fails, its own scopes go stale and nothing else. `tomte-agent doctor` tries them\n\
         all on your machine, and says what is missing and how to mend it.\n\n",
    );
    let rows: Vec<_> = collectors()
        .iter()
        .map(|collector| {
            let every = Unit::Seconds.format(collector.interval.unwrap_or(collector.tier.interval()).as_secs_f64());
            vec![
                code(collector.name),
                collector.tier.as_str().to_owned(),
                every,
                Unit::Seconds.format(collector.deadline.as_secs_f64()),
                collector.scopes.iter().map(|scope| code(scope)).collect::<Vec<_>>().join(", "),
                collector.help.to_owned(),
            ]
        })
        .collect();
    page.push_str(&table(&["collector", "tier", "every", "deadline", "scopes", "what it reads"], &rows));
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

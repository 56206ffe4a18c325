//! `tomte resource`: what hosts are made of.

use anyhow::Context;
use tomte_api::client::{Client, ResourceFilter};
use tomte_model::{Catalogue, ResourceKey, Status};

use super::host::{resource_row, summary};
use crate::cli::ResourceCommand;
use crate::output::{Output, Text};

pub(crate) async fn run(command: ResourceCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        ResourceCommand::List { host, kind, status, search } => {
            let least = status.as_deref().map(parse_status).transpose()?;
            let statuses =
                Status::ALL.into_iter().filter(|status| least.is_some_and(|least| *status >= least)).collect();
            let filter = ResourceFilter {
                hosts: host,
                kinds: kind.into_iter().collect(),
                statuses,
                text: search,
                ..ResourceFilter::default()
            };
            let resources = client.resources(&filter).await?;
            let catalogue = Catalogue::builtin();
            let rows = resources
                .iter()
                .map(|resource| {
                    let mut row = resource_row(resource, &catalogue, super::now());
                    row.insert(0, Text::new(resource.host.clone()));
                    row.pop();
                    row.push(Text::new(summary(resource, &catalogue)));
                    row
                })
                .collect();
            output.list(&resources, &["host", "resource", "status", "age", "readings"], rows)
        }
        ResourceCommand::Forget { host, resource } => {
            let key: ResourceKey = resource.parse()?;
            client.forget_resource(&host, &key.kind, &key.name).await?;
            output.line(format!("{key} of {host} is forgotten; it comes back if it is seen again"))
        }
    }
}

fn parse_status(text: &str) -> anyhow::Result<Status> {
    Status::ALL
        .into_iter()
        .find(|status| status.as_str() == text)
        .with_context(|| format!("{text:?} is no status: ok, unknown, warning or critical"))
}

//! `tomte check`: the hub's configuration in force, and where each value comes
//! from.

use std::net::SocketAddr;
use std::path::Path;

use tomte_hub::config::{self, Flag, Resolved, Surroundings};

use crate::cli::{CheckArgs, Global, HubArgs};
use crate::output::{Format, Output, Text};

pub(crate) fn run(args: CheckArgs, global: &Global, output: Output) -> anyhow::Result<()> {
    if args.sample {
        return output.line(config::SAMPLE.trim_end());
    }
    let resolved = resolve(args.config.as_deref(), &[], None, false, global.data.as_deref())?;
    let rows = resolved
        .settings
        .iter()
        .map(|setting| {
            vec![Text::new(setting.key), Text::new(setting.value.clone()), Text::new(setting.origin.to_string())]
        })
        .collect();
    let settings: Vec<_> = resolved
        .settings
        .iter()
        .map(|s| serde_json::json!({ "key": s.key, "value": s.value, "source": s.origin.to_string() }))
        .collect();
    output.list(&settings, &["setting", "value", "from"], rows)?;
    if resolved.file.is_none() && output.terminal() && output.format == Format::Table {
        output.line("\nNo file was found; `tomte check --sample` prints one to begin with.")?;
    }
    Ok(())
}

/// The configuration that `tomte hub` with these arguments would run with.
pub(crate) fn of_hub(args: &HubArgs, data: Option<&Path>) -> anyhow::Result<Resolved> {
    resolve(args.config.as_deref(), &args.listen, args.public_url.as_deref(), args.insecure_http, data)
}

fn resolve(
    file: Option<&Path>,
    listen: &[SocketAddr],
    public_url: Option<&str>,
    insecure_http: bool,
    data: Option<&Path>,
) -> anyhow::Result<Resolved> {
    let mut flags = Vec::new();
    if let Some(data) = data {
        flags.push(Flag { key: "data", value: data.display().to_string().into(), flag: "--data" });
    }
    if !listen.is_empty() {
        let addresses: Vec<_> = listen.iter().map(|address| toml::Value::from(address.to_string())).collect();
        flags.push(Flag { key: "listen", value: addresses.into(), flag: "--listen" });
    }
    if let Some(url) = public_url {
        flags.push(Flag { key: "public_url", value: url.into(), flag: "--public-url" });
    }
    if insecure_http {
        flags.push(Flag { key: "insecure_http", value: true.into(), flag: "--insecure-http" });
    }
    Ok(config::resolve(file, &flags, &Surroundings::of_this_process())?)
}

//! What the engines answer: see the Docker Engine API, whose answers Podman
//! gives too. Everything is optional, since versions and engines differ.

use serde::Deserialize;
use tomte_model::Timestamp;

use super::ask::ContainerId;
use super::http::AskError;

/// More of what a health check said is not kept.
const OUTPUT: usize = 200;

/// The answer to `/version`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Version {
    pub(crate) version: String,
    pub(crate) api_version: String,
}

/// A container in the list.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: Option<ContainerId>,
    /// Without the slash in front.
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) state: String,
    /// `Up 5 minutes (healthy)`; only what is in brackets is used.
    pub(crate) health: String,
    pub(crate) project: String,
    pub(crate) service: String,
    pub(crate) number: String,
    pub(crate) ports: String,
}

/// The answer to `/containers/json`.
pub(crate) fn containers(body: &[u8]) -> Result<Vec<Listed>, AskError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Wire<'a> {
        #[serde(default)]
        id: String,
        #[serde(default, deserialize_with = "lenient")]
        names: Vec<String>,
        #[serde(default)]
        image: String,
        #[serde(default)]
        state: String,
        #[serde(default)]
        status: String,
        #[serde(default, borrow)]
        labels: Option<Labels<'a>>,
        #[serde(default, deserialize_with = "lenient")]
        ports: Vec<Port>,
    }
    #[derive(Deserialize, Default)]
    struct Labels<'a> {
        #[serde(default, borrow, rename = "com.docker.compose.project")]
        project: std::borrow::Cow<'a, str>,
        #[serde(default, borrow, rename = "com.docker.compose.service")]
        service: std::borrow::Cow<'a, str>,
        #[serde(default, borrow, rename = "com.docker.compose.container-number")]
        number: std::borrow::Cow<'a, str>,
        #[serde(default, borrow, rename = "com.docker.compose.oneoff")]
        once: std::borrow::Cow<'a, str>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Port {
        #[serde(default)]
        private_port: u32,
        #[serde(default)]
        public_port: Option<u32>,
        #[serde(default, rename = "Type")]
        kind: String,
    }
    let wire: Vec<Wire<'_>> = parse(body)?;
    let listed = wire.into_iter().map(|wire| {
        let labels = wire.labels.unwrap_or_default();
        // What `compose run` starts has the labels of the service that it is not.
        let whole = !labels.project.is_empty() && !labels.service.is_empty() && labels.once != "True";
        let health = wire.status.rsplit_once('(').map(|(_, end)| end.trim_end_matches(')')).unwrap_or_default();
        let health = match health {
            "healthy" | "unhealthy" => health,
            "health: starting" | "starting" => "starting",
            _ => "",
        };
        let ports = wire
            .ports
            .iter()
            .filter_map(|port| port.public_port.map(|public| format!("{public}->{}/{}", port.private_port, port.kind)));
        let mut told: Vec<String> = ports.take(20).collect();
        told.sort();
        told.dedup();
        Listed {
            id: wire.id.try_into().ok(),
            name: shortest(&wire.names),
            image: wire.image,
            state: wire.state.to_lowercase(),
            health: health.to_owned(),
            project: if whole { labels.project.into_owned() } else { String::new() },
            service: if whole { labels.service.into_owned() } else { String::new() },
            number: if whole { labels.number.into_owned() } else { String::new() },
            ports: told.join(" "),
        }
    });
    Ok(listed.collect())
}

/// Legacy links give a container further names, `/other/alias`.
fn shortest(names: &[String]) -> String {
    let plain = |name: &&String| !name.trim_start_matches('/').contains('/');
    names.iter().find(plain).or(names.first()).map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default()
}

/// What `/containers/ID/json` tells.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Inspected {
    pub(crate) pid: Option<u32>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) oom_killed: bool,
    pub(crate) error: String,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Option<Timestamp>,
    pub(crate) health: String,
    pub(crate) health_output: String,
    pub(crate) restarts: u64,
    pub(crate) restart_policy: String,
    pub(crate) restart_limit: u64,
    pub(crate) host_network: bool,
    /// The image's name; a list may tell its digest only.
    pub(crate) image: String,
}

/// The answer to `/containers/ID/json`.
pub(crate) fn inspected(body: &[u8]) -> Result<Inspected, AskError> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Wire {
        state: State,
        restart_count: u64,
        host_config: HostConfig,
        config: Config,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct State {
        pid: i64,
        exit_code: i64,
        #[serde(rename = "OOMKilled")]
        oom_killed: bool,
        error: String,
        started_at: String,
        finished_at: String,
        #[serde(alias = "Healthcheck")]
        health: Option<Health>,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Health {
        status: String,
        #[serde(deserialize_with = "lenient")]
        log: Vec<Check>,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Check {
        exit_code: i64,
        output: String,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct HostConfig {
        network_mode: String,
        restart_policy: RestartPolicy,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct RestartPolicy {
        name: String,
        maximum_retry_count: u64,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Config {
        image: String,
    }
    let Wire { state, restart_count, host_config, config } = parse(body)?;
    let finished = time(&state.finished_at);
    let health = state.health.unwrap_or_default();
    let failing = health.log.iter().rev().find(|check| check.exit_code != 0).filter(|_| health.status == "unhealthy");
    Ok(Inspected {
        pid: u32::try_from(state.pid).ok().filter(|pid| *pid > 0),
        exit_code: finished.map(|_| state.exit_code),
        oom_killed: state.oom_killed,
        error: beginning(&state.error),
        started: time(&state.started_at),
        finished,
        health: if health.status == "none" { String::new() } else { health.status },
        health_output: failing.map(|check| beginning(&check.output)).unwrap_or_default(),
        restarts: restart_count,
        restart_policy: if host_config.restart_policy.name.is_empty() {
            "no".to_owned()
        } else {
            host_config.restart_policy.name
        },
        restart_limit: host_config.restart_policy.maximum_retry_count,
        host_network: host_config.network_mode == "host",
        image: config.image,
    })
}

/// What `/system/df` tells, in bytes and numbers.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct DiskUsage {
    pub(crate) images: usize,
    pub(crate) images_bytes: Option<u64>,
    pub(crate) images_unused_bytes: u64,
    pub(crate) containers_bytes: u64,
    pub(crate) volumes: usize,
    pub(crate) volumes_bytes: u64,
    pub(crate) volumes_unused_bytes: u64,
    pub(crate) build_cache_bytes: u64,
}

/// The answer to `/system/df`.
pub(crate) fn disk_usage(body: &[u8]) -> Result<DiskUsage, AskError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Wire {
        #[serde(default)]
        layers_size: Option<i64>,
        #[serde(default, deserialize_with = "lenient")]
        images: Vec<Image>,
        #[serde(default, deserialize_with = "lenient")]
        containers: Vec<Container>,
        #[serde(default, deserialize_with = "lenient")]
        volumes: Vec<Volume>,
        #[serde(default, deserialize_with = "lenient")]
        build_cache: Vec<Cache>,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Image {
        containers: i64,
        size: i64,
        shared_size: i64,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Container {
        size_rw: i64,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Volume {
        usage_data: Option<VolumeUsage>,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct VolumeUsage {
        ref_count: i64,
        size: i64,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Cache {
        size: i64,
        shared: bool,
    }
    let wire: Wire = parse(body)?;
    // "-1" is "not counted".
    let bytes = |value: i64| u64::try_from(value).unwrap_or(0);
    let sum = |values: &mut dyn Iterator<Item = i64>| values.map(bytes).fold(0, u64::saturating_add);
    let unused = wire.images.iter().filter(|image| image.containers == 0);
    let used = wire.volumes.iter().filter_map(|volume| volume.usage_data.as_ref());
    let free = used.clone().filter(|usage| usage.ref_count == 0);
    Ok(DiskUsage {
        images: wire.images.len(),
        images_bytes: wire.layers_size.and_then(|size| u64::try_from(size).ok()),
        images_unused_bytes: sum(&mut unused.map(|image| image.size.saturating_sub(image.shared_size.max(0)))),
        containers_bytes: sum(&mut wire.containers.iter().map(|container| container.size_rw)),
        volumes: wire.volumes.len(),
        volumes_bytes: sum(&mut used.map(|usage| usage.size)),
        volumes_unused_bytes: sum(&mut free.map(|usage| usage.size)),
        build_cache_bytes: sum(&mut wire.build_cache.iter().filter(|cache| !cache.shared).map(|cache| cache.size)),
    })
}

/// The answer to `/version`.
pub(crate) fn version(body: &[u8]) -> Result<Version, AskError> {
    parse(body)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, AskError> {
    serde_json::from_slice(body).map_err(|error| AskError::Bad(error.to_string()))
}

/// A list, where engines also write null.
fn lenient<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// A time; the year 1 is "never".
fn time(text: &str) -> Option<Timestamp> {
    // Podman writes the host's zone, with nanoseconds.
    text.parse::<Timestamp>().ok().filter(|time| time.millis() > 0)
}

/// One line, and not too much of it.
fn beginning(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().take(OUTPUT).collect();
    line.join(" ").chars().filter(|c| !c.is_control()).take(OUTPUT).collect()
}

/// Reads an engine's answer as each of those that are asked for: what a fuzzer
/// is let loose on.
pub fn fuzz_engine_answer(answer: &[u8]) {
    let body = super::http::body(answer).unwrap_or_else(|_| answer.to_vec());
    let _ = (containers(&body), inspected(&body), disk_usage(&body), version(&body));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    macro_rules! captured {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/captured/docker/", $name))
        };
    }

    #[test]
    fn the_list_is_read() {
        let listed = containers(captured!("containers_json_all.json")).unwrap();
        let of = |name: &str| listed.iter().find(|listed| listed.name == name).unwrap();
        assert_eq!(listed.len(), 6);
        let web = of("proj-web-1");
        assert_eq!((web.project.as_str(), web.service.as_str(), web.number.as_str()), ("proj", "web", "1"));
        assert_eq!((web.health.as_str(), web.ports.as_str()), ("healthy", "18081->80/tcp"));
        assert_eq!((of("crash").state.as_str(), of("crash").health.as_str()), ("restarting", ""));
        assert_eq!((of("oom").state.as_str(), of("oom").project.as_str()), ("exited", ""));
        assert!(listed.iter().all(|listed| listed.id.is_some()));
        assert_eq!(containers(captured!("guest_containers_json.json")).unwrap()[0].name, "web");
    }

    #[test]
    fn one_container_is_read() {
        let crash = inspected(captured!("inspect_crashloop.json")).unwrap();
        assert_eq!((crash.restarts, crash.exit_code, crash.pid), (14, Some(3), None));
        assert_eq!((crash.restart_policy.as_str(), crash.oom_killed), ("always", false));
        let oom = inspected(captured!("inspect_oom.json")).unwrap();
        assert_eq!((oom.oom_killed, oom.exit_code, oom.restart_policy.as_str()), (true, Some(137), "no"));
        let web = inspected(captured!("inspect_web_compose_v2.json")).unwrap();
        assert_eq!((web.pid, web.exit_code, web.finished), (Some(22_680), None, None));
        assert_eq!((web.health.as_str(), web.health_output.as_str()), ("healthy", ""));
        assert!(web.started.is_some_and(|time| time.to_string().starts_with("2026-11-20T20:37:33")));
    }

    #[test]
    fn what_a_failing_check_said_is_kept_short_and_in_one_line() {
        let body = r#"{"State":{"Health":{"Status":"unhealthy","Log":[
            {"ExitCode":1,"Output":"wget: bad\n\naddress\u0007"},{"ExitCode":0,"Output":"ok"}]}}}"#;
        let ill = inspected(body.as_bytes()).unwrap();
        assert_eq!(ill.health_output, "wget: bad address");
        assert_eq!(beginning(&"x ".repeat(10_000)).len(), OUTPUT);
    }

    #[test]
    fn the_disk_is_read() {
        let disk = disk_usage(captured!("system_df.json")).unwrap();
        assert_eq!((disk.images, disk.images_bytes, disk.images_unused_bytes), (1, Some(1_982_463), 0));
        assert_eq!((disk.volumes, disk.build_cache_bytes), (0, 0));
        let body = br#"{"LayersSize":-1,"Volumes":[{"UsageData":{"RefCount":0,"Size":5}},{"UsageData":null},{}]}"#;
        let disk = disk_usage(body).unwrap();
        assert_eq!((disk.volumes, disk.volumes_bytes, disk.volumes_unused_bytes, disk.images_bytes), (3, 5, 5, None));
        assert_eq!(version(captured!("version.json")).unwrap().api_version, "1.41");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe(text in "\\[?\\{\"?(Id|State|Names|Labels|Images|Health)?\"?:?(null|[0-9]{0,25}|\\{|\\[|\"x\")[\\]}]{0,3}.*") {
            fuzz_engine_answer(text.as_bytes());
        }
    }
}

//! The variables that systant heeded, heeded where its topics are asked for.
//! They go over the file and under what is said in Tomte's own words.

use tomte_mqtt::client::Address;

use super::super::ConfigError;
use super::super::layers::{Layer, Origin};

const HOST: &str = "MQTT_HOST";
const PORT: &str = "MQTT_PORT";
const INTERVAL: &str = "SYSTANT_INTERVAL";
const LOG_LEVEL: &str = "SYSTANT_LOG_LEVEL";
const URL: &str = "mqtt.url";

/// Whether it is one of them.
pub(in super::super) fn systant_variable(name: &str) -> bool {
    [HOST, PORT, INTERVAL, LOG_LEVEL].contains(&name)
}

/// What they set, where systant's topics are switched on by one of these
/// layers.
pub(in super::super) fn of_systant(environment: &[(String, String)], layers: &[&Layer]) -> Result<Layer, ConfigError> {
    let mut layer = Layer::default();
    let last = |key: &str| layers.iter().rev().find_map(|layer| layer.values.get(key)).map(|(value, _)| value);
    if last("mqtt.systant.enabled").and_then(toml::Value::as_bool) != Some(true) {
        return Ok(layer);
    }
    let variable = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim());
    let mut set = |name: &str, key: &str, value: &str| {
        let origin = Origin::Environment(name.to_owned());
        let wrong = |message| ConfigError::Value { origin: origin.to_string(), message };
        layer.add(Layer::set(key, value, &origin, false).map_err(wrong)?);
        Ok(())
    };
    let (host, port) = (variable(HOST), variable(PORT));
    if host.is_some() || port.is_some() {
        let known = last(URL).and_then(toml::Value::as_str).unwrap_or(tomte_mqtt::systant::BROKER);
        let name = if host.is_some() { HOST } else { PORT };
        let url = address(known, host, port).ok_or_else(|| ConfigError::Value {
            origin: format!("${name}"),
            message: format!(
                "{} and port {} are no broker; write for example broker.lan and 1883",
                host.unwrap_or("(as configured)"),
                port.unwrap_or("(as configured)")
            ),
        })?;
        set(name, URL, &url)?;
    }
    if let Some(interval) = variable(INTERVAL) {
        // systant counted in milliseconds.
        let millis = interval.parse::<u64>().ok().map(|millis| format!("{millis}ms"));
        set(INTERVAL, "mqtt.systant.interval", &millis.unwrap_or_else(|| interval.to_owned()))?;
    }
    if let Some(level) = variable(LOG_LEVEL) {
        set(LOG_LEVEL, "log.level", log_level(level))?;
    }
    Ok(layer)
}

/// The same broker under another name or port.
fn address(known: &str, host: Option<&str>, port: Option<&str>) -> Option<String> {
    let mut address: Address = known.parse().ok()?;
    if let Some(host) = host {
        address.host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    }
    if let Some(port) = port {
        address.port = port.parse().ok()?;
    }
    let text = address.to_string();
    text.parse::<Address>().ok().map(|_| text)
}

/// Elixir's levels in our words.
pub(crate) fn log_level(level: &str) -> &str {
    match level.trim_start_matches(':') {
        "warning" => "warn",
        "notice" => "info",
        "critical" | "alert" | "emergency" => "error",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::super::{Layers, Sources};

    fn resolved(text: &str, environment: &[(&str, &str)]) -> Result<crate::config::Config, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let sources = Sources { environment, ..Sources::default() };
        Layers::of("/x/agent.toml".into(), text, &sources)
            .and_then(|layers| layers.resolve(&[]))
            .map_err(|error| error.to_string())
    }

    const ON: &str = "[mqtt.systant]\nenabled = true\n";

    #[test]
    fn systants_defaults_hold_where_it_is_switched_on() {
        let mqtt = resolved(ON, &[]).unwrap().mqtt.unwrap();
        assert_eq!(mqtt.address.to_string(), "mqtt://mqtt.home:1883");
        assert_eq!((mqtt.start_delay.as_secs(), mqtt.discovery_delay.as_secs()), (5, 1));
        assert_eq!(mqtt.systant.unwrap().as_secs(), 30);
        let off = [("MQTT_HOST", "elsewhere"), ("SYSTANT_INTERVAL", "10000"), ("SYSTANT_LOG_LEVEL", "debug")];
        let config = resolved("", &off).unwrap();
        assert!(config.mqtt.is_none(), "another program's variables mean nothing here");
        assert_eq!(config.log_level, crate::config::LogLevel::Info);
    }

    #[test]
    fn systants_variables_are_heeded_and_tomtes_own_go_over_them() {
        let its = [
            ("MQTT_HOST", "broker.lan"),
            ("MQTT_PORT", "1884"),
            ("SYSTANT_INTERVAL", "10000"),
            ("SYSTANT_LOG_LEVEL", "warning"),
        ];
        let config = resolved(ON, &its).unwrap();
        let mqtt = config.mqtt.unwrap();
        assert_eq!(mqtt.address.to_string(), "mqtt://broker.lan:1884");
        assert_eq!(mqtt.systant.unwrap().as_secs(), 10);
        assert_eq!(config.log_level, crate::config::LogLevel::Warn);
        let origin = |key| config.settings.iter().find(|(known, ..)| known == key).unwrap().2.to_string();
        assert_eq!(origin("mqtt.url"), "$MQTT_HOST");

        let file = format!("[mqtt]\nurl = \"mqtts://a:8883\"\n{ON}");
        let port = resolved(&file, &[("MQTT_PORT", "9")]).unwrap().mqtt.unwrap();
        assert_eq!(port.address.to_string(), "mqtts://a:9", "what is not said stays");
        let own = [("MQTT_HOST", "b"), ("TOMTE_AGENT_MQTT_URL", "mqtt://c")];
        assert_eq!(resolved(&file, &own).unwrap().mqtt.unwrap().address.to_string(), "mqtt://c:1883");
    }

    #[test]
    fn a_variable_that_makes_no_sense_is_named() {
        for (name, value) in [
            ("MQTT_HOST", "a b"),
            ("MQTT_PORT", "x"),
            ("MQTT_PORT", "0"),
            ("SYSTANT_INTERVAL", "soon"),
            ("SYSTANT_INTERVAL", "5"),
            ("SYSTANT_LOG_LEVEL", "loud"),
        ] {
            let error = resolved(ON, &[(name, value)]).unwrap_err();
            assert!(error.contains(name), "{name}={value}: {error}");
        }
    }
}

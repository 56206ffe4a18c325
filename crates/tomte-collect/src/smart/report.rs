//! What smartctl says of one disk, as JSON: see smartctl(8), and its section on
//! the exit status, which is a mask of bits.
//!
//! Disks differ wildly in what they tell and how; so everything is looked for by
//! itself, and what is not there, or not what it should be, is missing.

use serde_json::Value;
use tomte_model::Facet;

/// Of smartctl's exit status: the device could not be opened, or sleeps.
const NOT_OPENED: i64 = 1 << 1;
/// The disk says that it fails.
const FAILING: i64 = 1 << 3;
/// Something that warns of failure is at its limit now.
const AT_LIMIT: i64 = 1 << 4;

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    /// The disk answered.
    Report(Box<Report>),
    /// It sleeps, and was left asleep.
    Asleep,
    /// It has nothing to say: virtual disks, plain sticks.
    Silent(String),
    /// smartctl does not know how to speak to it through its bridge.
    UnknownBridge(String),
    /// It could not be asked.
    Failed(String),
}

/// What a disk says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Report {
    pub(super) model: String,
    pub(super) serial: String,
    /// As the kernel's names of disks are written: `0x5000c500a1b2c3d4`.
    pub(super) wwn: Option<String>,
    firmware: String,
    protocol: String,
    failing: Option<bool>,
    trouble: String,
    temperature: Option<f64>,
    limit: Option<f64>,
    power_on_hours: Option<f64>,
    power_cycles: Option<f64>,
    unsafe_shutdowns: Option<f64>,
    wear_used: Option<f64>,
    spare: Option<f64>,
    media_errors: Option<f64>,
    reallocated: Option<f64>,
    pending: Option<f64>,
    uncorrectable: Option<f64>,
    interface_errors: Option<f64>,
    logged_errors: Option<f64>,
    self_test: Option<SelfTest>,
    written: Option<f64>,
    read: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
struct SelfTest {
    failed: bool,
    words: String,
    /// The disk's age when it ended.
    at_hours: Option<f64>,
}

/// Reads what smartctl printed.
///
/// # Errors
/// In words, when it is not smartctl's JSON.
pub(super) fn parse(text: &[u8]) -> Result<Told, String> {
    let all: Value = serde_json::from_slice(text).map_err(|error| format!("smartctl's answer is no JSON: {error}"))?;
    let Some(exit) = int(&all, "/smartctl/exit_status") else {
        return Err("smartctl's answer has no exit status".to_owned());
    };
    let messages: Vec<&str> =
        list(&all, "/smartctl/messages").filter_map(|message| str_of(message, "/string")).collect();
    let said = || messages.first().map_or_else(|| format!("smartctl ended with status {exit}"), |text| short(text));
    let mentions = |word: &str| messages.iter().any(|message| message.contains(word));
    if messages.iter().any(|message| message.contains("Unknown USB bridge")) {
        return Ok(Told::UnknownBridge(said()));
    }
    if exit & NOT_OPENED != 0 {
        let power = str_of(&all, "/power_mode/name").unwrap_or_default();
        let asleep = ["STANDBY", "SLEEP"].iter().any(|word| mentions(word) || power.contains(word));
        return Ok(if asleep { Told::Asleep } else { Told::Failed(said()) });
    }
    let has = |pointer: &str| all.pointer(pointer).is_some();
    let answers = has("/smart_status/passed")
        || has("/nvme_smart_health_information_log")
        || has("/ata_smart_attributes")
        || has("/scsi_error_counter_log")
        || has("/scsi_grown_defect_list");
    if !answers {
        return Ok(Told::Silent(if messages.is_empty() { "it has no SMART data".to_owned() } else { said() }));
    }
    Ok(Told::Report(Box::new(report(&all, exit))))
}

/// The disks behind controllers, by `smartctl --scan`: device and type.
///
/// # Errors
/// In words, when it is not smartctl's JSON.
pub(super) fn parse_scan(text: &[u8]) -> Result<Vec<(String, String)>, String> {
    let all: Value = serde_json::from_slice(text).map_err(|error| format!("smartctl's answer is no JSON: {error}"))?;
    let disk = |device: &Value| {
        let (name, kind) = (str_of(device, "/name")?, str_of(device, "/type")?);
        kind.contains(',').then(|| (name.to_owned(), kind.to_owned()))
    };
    Ok(list(&all, "/devices").filter_map(disk).take(super::MOST_DISKS).collect())
}

fn report(all: &Value, exit: i64) -> Report {
    let text =
        |pointers: &[&str]| pointers.iter().find_map(|pointer| str_of(all, pointer)).map(short).unwrap_or_default();
    let number = |pointer: &str| num(all, pointer);
    let nvme = |key: &str| num(all, &format!("/nvme_smart_health_information_log/{key}"));
    let attribute = |id: i64| list(all, "/ata_smart_attributes/table").find(|row| int(row, "/id") == Some(id));
    let raw = |id: i64| attribute(id).and_then(raw_value);
    let power_on_hours =
        number("/power_on_time/hours").map(|hours| hours + number("/power_on_time/minutes").unwrap_or(0.0) / 60.0);
    let uncorrected: Vec<f64> = ["read", "write", "verify"]
        .iter()
        .filter_map(|kind| number(&format!("/scsi_error_counter_log/{kind}/total_uncorrected_errors")))
        .collect();
    let troubles = troubles(all);
    let failing = match number("/smart_status/passed").map(|passed| passed == 0.0) {
        Some(failing) => Some(failing || exit & (FAILING | AT_LIMIT) != 0),
        None => (exit & (FAILING | AT_LIMIT) != 0).then_some(true),
    };
    // A disk that does not tell says 0, or that it is dead cold.
    let temperature =
        number("/temperature/current").filter(|celsius| (-60.0..=200.0).contains(celsius) && *celsius != 0.0);
    let solid = number("/rotation_rate") == Some(0.0) || all.get("nvme_smart_health_information_log").is_some();
    Report {
        model: text(&["/model_name", "/scsi_model_name", "/product"]),
        serial: text(&["/serial_number"]),
        wwn: wwn(all),
        firmware: text(&["/firmware_version", "/scsi_revision", "/revision"]),
        protocol: text(&["/device/protocol"]),
        failing,
        trouble: troubles.join(", "),
        temperature,
        limit: temperature.map(|_| limit(all).unwrap_or(if solid { 75.0 } else { 60.0 })),
        power_on_hours,
        power_cycles: number("/power_cycle_count")
            .or_else(|| number("/scsi_start_stop_cycle_counter/accumulated_start_stop_cycles")),
        unsafe_shutdowns: nvme("unsafe_shutdowns").or_else(|| raw(174)).or_else(|| raw(192)),
        wear_used: wear(all),
        // An emulated disk has neither spare blocks nor a level for them.
        spare: nvme("available_spare")
            .filter(|spare| *spare > 0.0 || nvme("available_spare_threshold").is_some_and(|level| level > 0.0))
            .map(|percent| percent / 100.0),
        media_errors: nvme("media_errors")
            .or_else(|| raw(187))
            .or_else(|| (!uncorrected.is_empty()).then(|| uncorrected.iter().sum())),
        reallocated: raw(5).or_else(|| number("/scsi_grown_defect_list")),
        pending: raw(197).or_else(|| number("/scsi_pending_defects/count")),
        uncorrectable: raw(198),
        interface_errors: raw(199),
        logged_errors: number("/ata_smart_error_log/summary/count")
            .or_else(|| number("/ata_smart_error_log/extended/count")),
        self_test: self_test(all),
        written: nvme("data_units_written")
            .map(|units| units * 512_000.0)
            .or_else(|| life_bytes(all, "Written", "Writes")),
        read: nvme("data_units_read").map(|units| units * 512_000.0).or_else(|| life_bytes(all, "Read", "Reads")),
    }
}

/// What is wrong, as far as the disk says more than that it fails.
fn troubles(all: &Value) -> Vec<String> {
    const NVME: [&str; 6] = [
        "its spare blocks are used up",
        "it is too hot or too cold",
        "it is unreliable after media errors",
        "it can only be read",
        "its power-loss protection has failed",
        "its persistent memory can only be read",
    ];
    let warning = int(all, "/nvme_smart_health_information_log/critical_warning").unwrap_or(0);
    let mut troubles: Vec<String> = NVME
        .iter()
        .enumerate()
        .filter(|(bit, _)| warning & (1 << bit) != 0)
        .map(|(_, text)| (*text).to_owned())
        .collect();
    for row in list(all, "/ata_smart_attributes/table").take(256) {
        let now = str_of(row, "/when_failed").is_some_and(|when| when.eq_ignore_ascii_case("now"));
        if now && row.pointer("/flags/prefailure").and_then(Value::as_bool) == Some(true) {
            troubles.push(format!("{} is at its limit", short(str_of(row, "/name").unwrap_or("an attribute"))));
        }
    }
    troubles.extend(str_of(all, "/smart_status/scsi/ie_string").map(short));
    troubles.truncate(4);
    troubles
}

/// The used part of the endurance.
fn wear(all: &Value) -> Option<f64> {
    let direct = ["/endurance_used/current_percent", "/nvme_smart_health_information_log/percentage_used"]
        .iter()
        .chain(&["/scsi_percentage_used_endurance_indicator"])
        .find_map(|pointer| num(all, pointer));
    if let Some(percent) = direct {
        return Some(percent / 100.0);
    }
    // Of ATA disks each maker has an attribute of its own, whose normalised value
    // counts down from 100. Those that turn use the same numbers for other things.
    const NAMES: [&str; 9] = [
        "Percent_Lifetime_Remain",
        "Percent_Lifetime_Used",
        "Media_Wearout_Indicator",
        "SSD_Life_Left",
        "Wear_Leveling_Count",
        "Remaining_Lifetime_Perc",
        "Perc_Rated_Life_Remain",
        "Percent_Life_Remaining",
        "Drive_Life_Remaining%",
    ];
    if num(all, "/rotation_rate") != Some(0.0) {
        return None;
    }
    let rows = || list(all, "/ata_smart_attributes/table");
    let left = NAMES.iter().find_map(|name| {
        let row = rows().find(|row| str_of(row, "/name") == Some(name))?;
        num(row, "/value").filter(|value| (0.0..=100.0).contains(value))
    })?;
    Some((100.0 - left) / 100.0)
}

/// The warmest the disk says it may be.
fn limit(all: &Value) -> Option<f64> {
    [
        "/nvme_composite_temperature_threshold/warning",
        "/temperature/op_limit_max",
        "/temperature/drive_trip",
        "/scsi_temperature/drive_trip",
        "/temperature/limit_max",
    ]
    .iter()
    .find_map(|pointer| num(all, pointer).filter(|celsius| (40.0..=125.0).contains(celsius)))
}

/// The last self-test that has ended.
fn self_test(all: &Value) -> Option<SelfTest> {
    let ata = ["/ata_smart_self_test_log/standard/table/0", "/ata_smart_self_test_log/extended/table/0"];
    if let Some(row) = ata.iter().find_map(|pointer| all.pointer(pointer)) {
        let words = str_of(row, "/status/string").map(short).unwrap_or_default();
        let failed = row.pointer("/status/passed").and_then(Value::as_bool) == Some(false);
        return Some(SelfTest { failed, words, at_hours: num(row, "/lifetime_hours") });
    }
    if let Some(row) = all.pointer("/nvme_self_test_log/table/0") {
        let result = int(row, "/self_test_result/value")?;
        let words = str_of(row, "/self_test_result/string").map(short).unwrap_or_default();
        // NVM Express base specification, "Device Self-test": 5 to 7 are failures.
        return Some(SelfTest { failed: (5..=7).contains(&result), words, at_hours: num(row, "/power_on_hours") });
    }
    let row = all.get("scsi_self_test_0")?;
    let result = int(row, "/result/value")?;
    let words = str_of(row, "/result/string").map(short).unwrap_or_default();
    // SPC-4, "Self-Test Results log page": 3 to 7 are failures.
    Some(SelfTest { failed: (3..=7).contains(&result), words, at_hours: num(row, "/power_on_time/hours") })
}

/// What went through an ATA disk in its life, where the attribute's own name says
/// in which unit it counts.
fn life_bytes(all: &Value, lbas: &str, host: &str) -> Option<f64> {
    list(all, "/ata_smart_attributes/table").find_map(|row| {
        let name = str_of(row, "/name")?;
        let unit = if name == format!("Total_LBAs_{lbas}") {
            num(all, "/logical_block_size").unwrap_or(512.0)
        } else if name == format!("Host_{host}_32MiB") {
            33_554_432.0
        } else if name == format!("Host_{host}_MiB") {
            1_048_576.0
        } else if name == format!("Host_{host}_GiB") || name == format!("Lifetime_{host}_GiB") {
            1_073_741_824.0
        } else {
            return None;
        };
        raw_value(row).map(|count| count * unit)
    })
}

/// The raw value of an attribute: as it is shown, up to the first character that
/// is no digit, because makers pack several numbers into it.
fn raw_value(row: &Value) -> Option<f64> {
    let shown = str_of(row, "/raw/string").map(|text| {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        text[..digits].parse::<f64>().ok()
    });
    shown.unwrap_or_else(|| num(row, "/raw/value"))
}

fn wwn(all: &Value) -> Option<String> {
    let part = |key: &str| all.pointer(&format!("/wwn/{key}")).and_then(Value::as_u64);
    let (naa, oui, id) = (part("naa")?, part("oui")?, part("id")?);
    (naa <= 0xf && oui <= 0xff_ffff && id <= 0xf_ffff_ffff && (oui, id) != (0, 0))
        .then(|| format!("0x{naa:x}{oui:06x}{id:09x}"))
}

impl Report {
    /// Writes what is there. `asleep`: what cannot be known of a sleeping disk is
    /// left out.
    pub(super) fn write(&self, facet: &mut Facet, asleep: bool) {
        facet.text("smart_model", self.model.clone());
        facet.text("smart_serial", self.serial.clone());
        facet.text("firmware", self.firmware.clone());
        facet.text("protocol", self.protocol.clone());
        facet.text("health", self.failing.map_or("", |failing| if failing { "failed" } else { "passed" }));
        facet.text("trouble", self.trouble.clone());
        facet.read("failing", self.failing.map(|failing| f64::from(u8::from(failing))));
        if let (Some(temperature), false) = (self.temperature, asleep) {
            facet.read("temperature_celsius", temperature);
            facet.read("limit_celsius", self.limit);
            facet.read("headroom_celsius", self.limit.map(|limit| limit - temperature));
        }
        let seconds = self.power_on_hours.map(|hours| hours * 3600.0);
        facet.read("power_on_seconds", seconds);
        facet.read("power_cycles", self.power_cycles);
        facet.read("unsafe_shutdowns", self.unsafe_shutdowns);
        facet.read("wear_used_ratio", self.wear_used);
        facet.read(
            "wear_remaining_seconds",
            self.wear_used.zip(seconds).and_then(|(used, on)| wear_remaining(used, on)),
        );
        facet.read("spare_ratio", self.spare);
        facet.read("media_errors", self.media_errors);
        facet.read("reallocated_sectors", self.reallocated);
        facet.read("pending_sectors", self.pending);
        facet.read("uncorrectable_sectors", self.uncorrectable);
        facet.read("interface_errors", self.interface_errors);
        facet.read("logged_errors", self.logged_errors);
        facet.read("life_written_bytes", self.written);
        facet.read("life_read_bytes", self.read);
        if let Some(test) = &self.self_test {
            facet.text("self_test", test.words.clone());
            facet.read("self_test_failed", f64::from(u8::from(test.failed)));
            let age = self.power_on_hours.zip(test.at_hours).map(|(now, then)| (now - then) * 3600.0);
            // The log of old disks wraps after 65,536 hours.
            facet.read("self_test_age_seconds", age.filter(|age| *age >= 0.0));
        }
    }
}

/// When the endurance is used up, if it goes on as it went so far. Two per cent
/// are the least that says anything (whole ones are counted), and a month.
fn wear_remaining(used: f64, on_seconds: f64) -> Option<f64> {
    const MONTH: f64 = 30.0 * 86_400.0;
    ((0.02..1.0).contains(&used) && on_seconds >= MONTH).then(|| on_seconds * (1.0 - used) / used)
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn str_of<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn int(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// A number; of a flag, 1 or 0.
fn num(value: &Value, pointer: &str) -> Option<f64> {
    let value = value.pointer(pointer)?;
    value.as_f64().or_else(|| value.as_bool().map(|flag| f64::from(u8::from(flag)))).filter(|number| *number >= 0.0)
}

/// A text of others, as far as it fits.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect::<String>().trim().to_owned()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;

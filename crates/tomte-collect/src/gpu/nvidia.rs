//! A card of NVIDIA as it is told of, and what `nvidia-smi -q -x` prints: XML, one element a line or not, of which names
//! and places have changed over the years. What a card does not have is written in
//! many ways ("N/A", "[N/A]", "[Not Supported]", "[Unknown Error]", "Requested
//! functionality has been deprecated"); so only what begins with a number is one.

use tomte_model::report::Table;
use tomte_model::{Facet, Value};

use super::MOST_GPUS;

/// A card, or a part of one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Gpu {
    pub(super) place: String,
    pub(super) model: String,
    pub(super) uuid: String,
    pub(super) driver: String,
    pub(super) performance_state: String,
    pub(super) utilisation: Option<f64>,
    pub(super) memory_busy: Option<f64>,
    pub(super) encoder: Option<f64>,
    pub(super) decoder: Option<f64>,
    pub(super) memory_size: Option<f64>,
    pub(super) memory_used: Option<f64>,
    pub(super) temperature: Option<f64>,
    pub(super) memory_temperature: Option<f64>,
    pub(super) slows_at: Option<f64>,
    pub(super) stops_at: Option<f64>,
    pub(super) power: Option<f64>,
    pub(super) average_power: Option<f64>,
    pub(super) power_limit: Option<f64>,
    pub(super) clock: Option<f64>,
    pub(super) memory_clock: Option<f64>,
    pub(super) fan: Option<f64>,
    pub(super) processes: Vec<Process>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Process {
    pub(super) pid: Option<f64>,
    pub(super) name: String,
    pub(super) memory: Option<f64>,
}

/// The processes of a card that are told of.
const MOST_PROCESSES: usize = 10;
/// More of them are not even read.
pub(super) const READ_PROCESSES: usize = 1000;

const MIB: f64 = 1_048_576.0;
pub(super) const MEGA: f64 = 1e6;

/// The cards.
///
/// # Errors
/// In words, when it is something else.
pub(super) fn parse(text: &str) -> Result<Vec<Gpu>, String> {
    if !text.contains("<nvidia_smi_log") {
        return Err("nvidia-smi's answer is not its XML".to_owned());
    }
    let mut gpus: Vec<Gpu> = Vec::new();
    let mut driver = String::new();
    // The names of the elements around; what is deeper than that has no meaning.
    let mut path: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((value, after)) = rest.split_once('<') {
        let Some((tag, behind)) = after.split_once('>') else { break };
        rest = behind;
        if let Some(name) = tag.strip_prefix('/') {
            if let [.., parent, own] = path.as_slice()
                && *own == name
            {
                let value = value.trim();
                if name == "driver_version" {
                    driver = short(value);
                } else if let Some(gpu) = gpus.last_mut() {
                    gpu.note(parent, name, value);
                }
            }
            // What is not well formed cannot be followed.
            if path.pop() != Some(name) {
                return Err("nvidia-smi's answer is not well formed".to_owned());
            }
            continue;
        }
        if tag.starts_with(['?', '!']) || tag.ends_with('/') {
            continue;
        }
        let name = tag.split_ascii_whitespace().next().unwrap_or_default();
        if name == "gpu" && path == ["nvidia_smi_log"] {
            if gpus.len() >= MOST_GPUS {
                break;
            }
            let id = tag.split('"').nth(1).unwrap_or_default();
            gpus.push(Gpu { place: place(id), driver: driver.clone(), ..Gpu::default() });
        }
        if let (Some(gpu), "process_info") = (gpus.last_mut(), name)
            && gpu.processes.len() < READ_PROCESSES
        {
            gpu.processes.push(Process::default());
        }
        if path.len() >= 32 {
            return Err("nvidia-smi's answer is nested too deeply".to_owned());
        }
        path.push(name);
    }
    Ok(gpus)
}

impl Gpu {
    fn note(&mut self, parent: &str, name: &str, value: &str) {
        let number = || number(value);
        match (parent, name) {
            ("gpu", "product_name") => self.model = word(value),
            ("gpu", "uuid") => self.uuid = word(value),
            ("gpu", "performance_state") => self.performance_state = word(value),
            ("gpu", "fan_speed") => self.fan = number(),
            ("fb_memory_usage", "total") => self.memory_size = number().map(|mib| mib * MIB),
            ("fb_memory_usage", "used") => self.memory_used = number().map(|mib| mib * MIB),
            ("utilization", "gpu_util") => self.utilisation = number(),
            ("utilization", "memory_util") => self.memory_busy = number(),
            ("utilization", "encoder_util") => self.encoder = number(),
            ("utilization", "decoder_util") => self.decoder = number(),
            ("temperature", "gpu_temp") => self.temperature = number(),
            ("temperature", "memory_temp") => self.memory_temperature = number(),
            ("temperature", "gpu_temp_slow_threshold") => self.slows_at = number(),
            ("temperature", "gpu_temp_max_threshold") => self.stops_at = number(),
            ("power_readings" | "gpu_power_readings", "power_draw" | "instant_power_draw") => self.power = number(),
            ("power_readings" | "gpu_power_readings", "average_power_draw") => self.average_power = number(),
            (
                "power_readings" | "gpu_power_readings",
                "current_power_limit" | "enforced_power_limit" | "power_limit",
            ) => {
                self.power_limit = number().or(self.power_limit);
            }
            ("clocks", "graphics_clock") => self.clock = number().map(|mega| mega * MEGA),
            ("clocks", "mem_clock") => self.memory_clock = number().map(|mega| mega * MEGA),
            ("process_info", field) => {
                let Some(process) = self.processes.last_mut() else { return };
                match field {
                    "pid" => process.pid = number(),
                    "process_name" => process.name = program(value),
                    "used_memory" => process.memory = number().map(|mib| mib * MIB),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        if self.place.is_empty() { &self.uuid } else { &self.place }
    }

    /// What the agent reports of it.
    pub(super) fn facet(&self) -> Facet {
        let name = self.name().to_owned();
        let mut facet = Facet::owner("gpu", name, "main");
        facet.text("vendor", "nvidia");
        facet.text("model", self.model.clone());
        facet.text("uuid", self.uuid.clone());
        facet.text("driver", format!("nvidia {}", self.driver).trim().to_owned());
        facet.text("performance_state", self.performance_state.clone());
        let ratio = |percent: Option<f64>| percent.map(|percent| percent / 100.0);
        facet.read("utilisation_ratio", ratio(self.utilisation));
        facet.read("memory_busy_ratio", ratio(self.memory_busy));
        facet.read("encoder_ratio", ratio(self.encoder));
        facet.read("decoder_ratio", ratio(self.decoder));
        facet.read("memory_size_bytes", self.memory_size);
        facet.read("memory_used_bytes", self.memory_used);
        let share = self.memory_used.zip(self.memory_size.filter(|size| *size > 0.0)).map(|(used, size)| used / size);
        facet.read("memory_used_ratio", share);
        let limit = self.slows_at.or(self.stops_at).filter(|limit| *limit > 0.0);
        facet.read("temperature_celsius", self.temperature);
        facet.read("memory_celsius", self.memory_temperature);
        facet.read("limit_celsius", limit);
        facet.read("headroom_celsius", limit.zip(self.temperature).map(|(limit, now)| limit - now));
        facet.read("power_watts", self.power.or(self.average_power));
        facet.read("power_limit_watts", self.power_limit);
        facet.read("clock_hertz", self.clock);
        facet.read("memory_clock_hertz", self.memory_clock);
        facet.read("fan_ratio", ratio(self.fan));
        let mut processes: Vec<&Process> = self.processes.iter().filter(|process| process.pid.is_some()).collect();
        processes.sort_by(|a, b| b.memory.unwrap_or(0.0).total_cmp(&a.memory.unwrap_or(0.0)));
        let row = |process: &&Process| {
            let text = |text: &str| (!text.is_empty()).then(|| Value::Text(text.to_owned()));
            vec![process.pid.map(Value::Number), text(&process.name), process.memory.map(Value::Number)]
        };
        facet.tables.push(Table {
            name: "processes".into(),
            columns: ["pid", "name", "memory_bytes"].map(Into::into).to_vec(),
            rows: processes.iter().take(MOST_PROCESSES).map(row).collect(),
        });
        facet
    }
}

/// The place on the PCI bus as the kernel writes it: `0000:0c:00.0`, of
/// `00000000:0C:00.0`.
fn place(id: &str) -> String {
    let lower = id.to_ascii_lowercase();
    match lower.split_once(':') {
        Some((domain, rest)) if domain.len() == 8 && domain.is_ascii() => short(&format!("{}:{rest}", &domain[4..])),
        _ => short(&lower),
    }
}

/// A program without its path and without what it was given as arguments.
pub(super) fn program(command: &str) -> String {
    let program = command.split_ascii_whitespace().next().unwrap_or_default();
    short(program.rsplit(['/', '\\']).next().unwrap_or_default())
}

/// A number with its unit behind it.
fn number(text: &str) -> Option<f64> {
    let number = text.split_ascii_whitespace().next()?.parse::<f64>().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

/// A word, unless it says that there is none.
fn word(text: &str) -> String {
    let none = text.starts_with('[') || text == "N/A" || text.starts_with("Requested functionality");
    if none { String::new() } else { short(text) }
}

pub(super) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

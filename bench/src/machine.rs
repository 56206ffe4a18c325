//! The machine that figures come from, in a line.

use std::fs;

/// Processors, memory, operating system, kernel, as far as they can be read.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once([':', '='])?.1.trim().trim_matches('"').to_owned())
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let model = value(&cpuinfo, "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let memory = memory.and_then(|text| text.split(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1_048_576.0;
    let system = value(&read("/etc/os-release"), "PRETTY_NAME").unwrap_or_else(|| "unknown system".to_owned());
    let kernel = read("/proc/sys/kernel/osrelease");
    let (kernel, _) = kernel.trim().split_once('-').unwrap_or((kernel.trim(), ""));
    format!("{processors} processors ({model}), {memory:.0} GiB, {system}, Linux {kernel}")
}

/// How busy the machine is, which figures suffer from.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

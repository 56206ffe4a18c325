#![allow(clippy::unwrap_used, clippy::print_stderr)]
use std::fs::{create_dir_all, write};

use proptest::prelude::*;
use tomte_model::{Timestamp, Value};

use super::*;
use crate::published::published;

/// The shape of `nvidia-smi -q -x`, with each way of saying that there is nothing.
const SHAPE: &str = r#"<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
	<driver_version>550.54</driver_version>
	<gpu id="00000000:0C:00.0">
		<product_name>NVIDIA X</product_name>
		<uuid>GPU-1</uuid>
		<fan_speed>[N/A]</fan_speed>
		<performance_state>P8</performance_state>
		<fb_memory_usage><total>1024 MiB</total><used>256 MiB</used></fb_memory_usage>
		<bar1_memory_usage><total>9 MiB</total><used>9 MiB</used></bar1_memory_usage>
		<utilization><gpu_util>25 %</gpu_util><memory_util>[Not Supported]</memory_util><encoder_util>N/A</encoder_util></utilization>
		<temperature><gpu_temp>40 C</gpu_temp><gpu_temp_slow_threshold>95 C</gpu_temp_slow_threshold><memory_temp>[Unknown Error]</memory_temp></temperature>
		<gpu_power_readings><power_draw>Requested functionality has been deprecated</power_draw><average_power_draw>17.50 W</average_power_draw><current_power_limit>70.00 W</current_power_limit></gpu_power_readings>
		<module_power_readings><power_draw>999 W</power_draw></module_power_readings>
		<clocks><graphics_clock>300 MHz</graphics_clock><mem_clock>405 MHz</mem_clock></clocks>
		<max_clocks><graphics_clock>2100 MHz</graphics_clock></max_clocks>
		<processes>
			<process_info><pid>7</pid><process_name>/usr/bin/small</process_name><used_memory>1 MiB</used_memory></process_info>
			<process_info><pid>8</pid><process_name>/opt/app/big --secret=1</process_name><used_memory>100 MiB</used_memory></process_info>
		</processes>
	</gpu>
</nvidia_smi_log>
"#;

fn now(seconds: u64) -> Moment {
    Moment { wall: Timestamp::default(), boot_millis: seconds * 1000 }
}

struct Host {
    dir: tempfile::TempDir,
    collector: Box<dyn Collector>,
}

impl Host {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let collector = make(&Root::new(dir.path()), &Settings::default());
        let host = Self { dir, collector };
        files.iter().for_each(|(path, content)| host.put(path, content));
        host
    }
    fn put(&self, path: &str, content: &str) {
        let path = self.dir.path().join(path);
        create_dir_all(path.parent().unwrap()).unwrap();
        write(path, content).unwrap();
    }
}

#[test]
fn nothing_in_all_its_spellings_is_missing() {
    let gpus = nvidia::parse(SHAPE).unwrap();
    let facet = gpus[0].facet();
    assert_eq!((gpus.len(), facet.resource.name.as_str()), (1, "0000:0c:00.0"));
    let read = |field| facet.reading(field);
    assert_eq!((read("utilisation_ratio"), read("memory_used_ratio")), (Some(0.25), Some(0.25)));
    assert_eq!((read("power_watts"), read("power_limit_watts")), (Some(17.5), Some(70.0)));
    assert_eq!((read("temperature_celsius"), read("headroom_celsius")), (Some(40.0), Some(55.0)));
    assert_eq!((read("clock_hertz"), read("memory_clock_hertz")), (Some(3.0e8), Some(4.05e8)));
    for missing in ["fan_ratio", "memory_busy_ratio", "encoder_ratio", "decoder_ratio", "memory_celsius"] {
        assert_eq!(read(missing), None, "{missing}");
    }
    let rows = &facet.tables[0].rows;
    assert_eq!((rows.len(), rows[0][1].as_ref()), (2, Some(&Value::Text("big".into()))), "without its arguments");
    assert_eq!(facet.attribute("driver"), Some(&Value::Text("nvidia 550.54".into())));
}

#[test]
fn cards_of_others() {
    let read = |name: &str| {
        let text = published(&format!("gpu/telegraf_nvidia-smi_{name}.xml"))?;
        Some(nvidia::parse(&String::from_utf8_lossy(&text)).unwrap())
    };
    if let Some(gpus) = read("rtx-3080-v13") {
        let facet = gpus[0].facet();
        assert_eq!(facet.resource.name, "0000:0c:00.0");
        assert_eq!(
            (facet.reading("utilisation_ratio"), facet.reading("memory_size_bytes")),
            (Some(0.65), Some(10_240.0 * 1_048_576.0))
        );
        assert_eq!((facet.reading("power_watts"), facet.reading("power_limit_watts")), (Some(142.33), Some(320.0)));
        assert_eq!((facet.reading("limit_celsius"), facet.reading("clock_hertz")), (Some(95.0), Some(1.95e9)));
        assert_eq!(facet.reading("memory_celsius"), None);
    }
    if let Some(gpus) = read("tesla-t4") {
        let facet = gpus[0].facet();
        assert_eq!((facet.reading("temperature_celsius"), facet.reading("power_watts")), (Some(40.0), Some(26.78)));
        assert_eq!(facet.reading("fan_ratio"), None);
    }
}

#[test]
fn a_sleeping_card_is_not_asked() {
    let mut host = Host::new(&[]);
    assert!(matches!(host.collector.collect(now(0))[0].outcome, Outcome::Unavailable { .. }), "no card");
    host.put("sys/bus/pci/devices/0000:0c:00.0/class", "0x030000\n");
    host.put("sys/bus/pci/devices/0000:0c:00.0/vendor", "0x10de\n");
    let outcome = host.collector.collect(now(0)).remove(0).outcome;
    assert!(matches!(&outcome, Outcome::Unavailable { error } if error.contains("nvidia-smi")), "{outcome:?}");
    host.put("tools/nvidia-smi -q -x", SHAPE);
    assert_eq!(host.collector.collect(now(1))[0].facets[0].reading("utilisation_ratio"), Some(0.25));
    host.put("sys/bus/pci/devices/0000:0c:00.0/power/runtime_status", "suspended\n");
    host.put("tools/nvidia-smi -q -x", "must not be run");
    let asleep = host.collector.collect(now(2)).remove(0);
    assert!(asleep.outcome.is_complete() && asleep.facets[0].readings.is_empty());
    assert_eq!(asleep.facets[0].attribute("uuid"), Some(&Value::Text("GPU-1".into())));
}

#[test]
fn a_driver_that_does_not_answer_has_failed() {
    let mut host = Host::new(&[
        ("sys/bus/pci/devices/0000:0c:00.0/class", "0x030200"),
        ("sys/bus/pci/devices/0000:0c:00.0/vendor", "0x10de"),
        ("tools/nvidia-smi -q -x", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"),
        ("tools/nvidia-smi -q -x.status", "9"),
    ]);
    let scopes = host.collector.collect(now(0));
    assert!(matches!(&scopes[0].outcome, Outcome::Failed { error } if error.contains("couldn't communicate")));
    assert!(scopes[1].outcome.is_complete());
}

#[test]
fn cards_of_amd_and_intel() {
    let mut host = Host::new(&[
        ("sys/class/drm/card0-HDMI-A-1/status", "connected"),
        ("sys/class/drm/card0/device/vendor", "0x1002\n"),
        ("sys/class/drm/card0/device/uevent", "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0\n"),
        ("sys/class/drm/card0/device/gpu_busy_percent", "42\n"),
        ("sys/class/drm/card0/device/mem_info_vram_total", "8573157376\n"),
        ("sys/class/drm/card0/device/mem_info_vram_used", "857315737\n"),
        ("sys/class/drm/card0/device/hwmon/hwmon4/temp1_input", "51000\n"),
        ("sys/class/drm/card0/device/hwmon/hwmon4/temp1_label", "edge\n"),
        ("sys/class/drm/card0/device/hwmon/hwmon4/temp1_crit", "100000\n"),
        ("sys/class/drm/card0/device/hwmon/hwmon4/temp2_input", "63000\n"),
        ("sys/class/drm/card0/device/hwmon/hwmon4/temp2_label", "junction\n"),
        ("sys/class/drm/card0/device/hwmon/hwmon4/power1_average", "35000000\n"),
        ("sys/class/drm/card0/device/hwmon/hwmon4/power1_cap", "203000000\n"),
        ("sys/class/drm/card0/device/hwmon/hwmon4/freq1_input", "700000000\n"),
        ("sys/class/drm/card1/gt_act_freq_mhz", "300\n"),
        ("sys/class/drm/card1/device/vendor", "0x8086\n"),
        ("sys/class/drm/card1/device/uevent", "DRIVER=i915\nPCI_SLOT_NAME=0000:00:02.0\n"),
        ("sys/class/drm/card1/device/hwmon/hwmon5/energy1_input", "1000000\n"),
        ("sys/class/drm/card2/device/vendor", "0x10de\n"),
    ]);
    let facets = host.collector.collect(now(0)).remove(1).facets;
    assert_eq!(facets.len(), 2);
    let amd = |field| facets[0].reading(field);
    assert_eq!(
        (amd("utilisation_ratio"), amd("power_watts"), amd("power_limit_watts")),
        (Some(0.42), Some(35.0), Some(203.0))
    );
    assert_eq!(
        (amd("temperature_celsius"), amd("hotspot_celsius"), amd("headroom_celsius")),
        (Some(51.0), Some(63.0), Some(49.0))
    );
    assert_eq!((amd("clock_hertz"), amd("fan_rpm")), (Some(7.0e8), None));
    assert_eq!((facets[1].reading("clock_hertz"), facets[1].reading("power_watts")), (Some(3.0e8), None));
    host.put("sys/class/drm/card1/device/hwmon/hwmon5/energy1_input", "51000000\n");
    host.put("sys/class/drm/card0/device/power/runtime_status", "suspended\n");
    let facets = host.collector.collect(now(10)).remove(1).facets;
    assert_eq!(facets[1].reading("power_watts"), Some(5.0));
    assert!(facets[0].readings.is_empty(), "it sleeps");
}

proptest! {
    #[test]
    fn any_text_is_safe(text: String) {
        let _ = nvidia::parse(&text);
        let _ = nvidia::parse(&format!("<nvidia_smi_log>{text}"));
    }

    #[test]
    fn a_real_shape_cut_and_spoiled_is_safe(at in 0_usize..2600, cut in 0_usize..40, with in "[<>/a-z0-9 %é-]{0,12}") {
        let mut text: Vec<char> = SHAPE.chars().collect();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        text.splice(at..end, with.chars());
        for gpu in nvidia::parse(&text.into_iter().collect::<String>()).unwrap_or_default() {
            prop_assert!(gpu.facet().readings.iter().all(|(_, value)| value.is_finite()));
        }
    }
}

/// NVIDIA's library as far as it is used here: one card, which has neither a fan
/// nor an encoder, and a process whose name would be its whole command.
#[cfg(target_env = "gnu")]
const LIBRARY: &str = r#"
#include <string.h>
typedef struct { unsigned pid; unsigned long long memory; unsigned gpu, compute; } process;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory;
typedef struct { unsigned id, scope; long long at, latency; int type, status; union { double d; unsigned u; } value; } field;
static int opened;
static char card;
enum { NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };
int nvmlInit_v2(void) { opened++; return opened == 1 ? 0 : 999; }
int nvmlShutdown(void) { opened--; return 0; }
const char *nvmlErrorString(int code) { return "an error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { strncpy(text, "570.86", length); return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *place, void **device) {
  *device = &card;
  return strcmp(place, "0000:0c:00.0") ? NOT_FOUND : 0;
}
int nvmlDeviceGetName(void *device, char *text, unsigned length) { strncpy(text, "NVIDIA X", length); return 0; }
int nvmlDeviceGetUUID(void *device, char *text, unsigned length) { strncpy(text, "GPU-1", length); return 0; }
int nvmlDeviceGetPerformanceState(void *device, int *state) { *state = 8; return 0; }
int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) { rates[0] = 25; rates[1] = 5; return 0; }
int nvmlDeviceGetEncoderUtilization(void *device, unsigned *a, unsigned *b) { return NOT_SUPPORTED; }
int nvmlDeviceGetFanSpeed_v2(void *device, unsigned fan, unsigned *speed) { return NOT_SUPPORTED; }
int nvmlDeviceGetMemoryInfo_v2(void *device, memory *m) { m->total = 1024; m->reserved = 24; m->free = 744; m->used = 256; return 0; }
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) { *celsius = 40; return 0; }
int nvmlDeviceGetTemperatureThreshold(void *device, int which, unsigned *celsius) { *celsius = 95; return which == 1 ? 0 : NOT_SUPPORTED; }
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) { *milliwatts = 17500; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts) { *milliwatts = 70000; return 0; }
int nvmlDeviceGetClockInfo(void *device, int which, unsigned *mega) { *mega = which == 0 ? 300 : 405; return 0; }
int nvmlDeviceGetFieldValues(void *device, int count, field *values) {
  values[0].type = 1; values[0].status = 0; values[0].value.u = 61;
  return 0;
}
static int list(unsigned *count, process *processes) {
  unsigned room = *count;
  *count = 1;
  if (room < 1) return TOO_SMALL;
  processes[0].pid = 8; processes[0].memory = 100; processes[0].gpu = processes[0].compute = 0xFFFFFFFF;
  return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process *p) { return list(count, p); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *count, process *p) { return list(count, p); }
int nvmlSystemGetProcessName(unsigned pid, char *text, unsigned length) { strncpy(text, "/opt/app/big --secret=1", length); return 0; }
"#;

#[test]
#[cfg(target_env = "gnu")]
fn a_card_is_asked_by_the_library_of_its_driver() {
    let host = Host::new(&[("libnvidia-ml.c", LIBRARY), ("tools/nvidia-smi -q -x", "must not be run")]);
    host.put("sys/bus/pci/devices/0000:0c:00.0/class", "0x030000\n");
    host.put("sys/bus/pci/devices/0000:0c:00.0/vendor", "0x10de\n");
    let library = host.dir.path().join("libnvidia-ml.so");
    let mut cc = std::process::Command::new("cc");
    cc.args(["-shared", "-fPIC", "-w", "-o"]).arg(&library).arg(host.dir.path().join("libnvidia-ml.c"));
    match cc.status() {
        Ok(status) => assert!(status.success(), "the library is not built"),
        Err(error) => {
            return eprintln!("SKIPPED a_card_is_asked_by_the_library_of_its_driver: cc cannot be run: {error}");
        }
    }
    let mut gpus = Gpus {
        root: Root::new(host.dir.path()),
        libraries: vec!["/nowhere/libnvidia-ml.so.1".into(), library.into()],
        nvidia: Vec::new(),
        energy: Vec::new(),
    };
    // Twice: it was shut down in between, or it would not open again.
    for _ in 0..2 {
        let facet = gpus.collect(now(0)).remove(0).facets.remove(0);
        let read = |field| facet.reading(field);
        assert_eq!(facet.resource.name, "0000:0c:00.0");
        assert_eq!((read("utilisation_ratio"), read("memory_busy_ratio")), (Some(0.25), Some(0.05)));
        assert_eq!((read("memory_size_bytes"), read("memory_used_ratio")), (Some(1024.0), Some(0.25)));
        assert_eq!((read("power_watts"), read("power_limit_watts")), (Some(17.5), Some(70.0)));
        assert_eq!((read("temperature_celsius"), read("headroom_celsius")), (Some(40.0), Some(55.0)));
        assert_eq!((read("memory_celsius"), read("clock_hertz")), (Some(61.0), Some(3.0e8)));
        for missing in ["fan_ratio", "encoder_ratio", "decoder_ratio"] {
            assert_eq!(read(missing), None, "{missing}");
        }
        let text = |name| facet.attribute(name).unwrap().to_string();
        assert_eq!((text("driver").as_str(), text("performance_state").as_str()), ("nvidia 570.86", "P8"));
        let rows = &facet.tables[0].rows;
        assert_eq!((rows.len(), rows[0][1].as_ref()), (1, Some(&Value::Text("big".into()))), "without its arguments");
    }
    // A second card sleeps: the library is not asked for it. Its own answer to
    // that one would be that it does not know it.
    host.put("sys/bus/pci/devices/0000:0d:00.0/class", "0x030000\n");
    host.put("sys/bus/pci/devices/0000:0d:00.0/vendor", "0x10de\n");
    host.put("sys/bus/pci/devices/0000:0d:00.0/power/runtime_status", "suspended\n");
    assert_eq!(gpus.collect(now(1))[0].facets.len(), 1);
}

#[test]
fn the_tool_is_asked_only_for_those_that_are_awake() {
    let mut host = Host::new(&[("tools/nvidia-smi -q -x -i 0000:0c:00.0", SHAPE)]);
    for card in ["0000:0c:00.0", "0000:0d:00.0"] {
        host.put(&format!("sys/bus/pci/devices/{card}/class"), "0x030000\n");
        host.put(&format!("sys/bus/pci/devices/{card}/vendor"), "0x10de\n");
    }
    host.put("sys/bus/pci/devices/0000:0d:00.0/power/runtime_status", "suspended\n");
    let scope = host.collector.collect(now(0)).remove(0);
    assert!(scope.outcome.is_complete(), "{scope:?}");
    assert_eq!(scope.facets[0].reading("utilisation_ratio"), Some(0.25));
}

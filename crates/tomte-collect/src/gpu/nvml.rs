//! NVIDIA's cards by NVML, the library that comes with their driver. It is loaded
//! for one look and shut down after it: a program that keeps it open keeps cards
//! awake. Only those are asked that are awake already.
//!
//! What a card does not have, its library refuses, and it is missing.

use std::ffi::OsString;

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor, TemperatureThreshold};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::NVML_FI_DEV_MEMORY_TEMP;
use nvml_wrapper::{Device, Nvml};

use super::nvidia::{Gpu, MEGA, Process, READ_PROCESSES, program, short};

/// Where the library is: where the system's linker finds it, and on NixOS.
pub(super) fn places() -> Vec<OsString> {
    ["libnvidia-ml.so.1", "/run/opengl-driver/lib/libnvidia-ml.so.1"].map(OsString::from).into()
}

/// Why the library did not tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotTold {
    /// It is not here, or another one than this was written for.
    Absent(String),
    /// It does not let us.
    Denied(String),
    /// It is here and could not.
    Failed(String),
}

impl From<NvmlError> for NotTold {
    fn from(error: NvmlError) -> Self {
        let words = format!("NVIDIA's library: {error}");
        match error {
            NvmlError::LibloadingError(_)
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::LibraryNotFound
            | NvmlError::FunctionNotFound => Self::Absent(words),
            NvmlError::NoPermission => Self::Denied(words),
            _ => Self::Failed(words),
        }
    }
}

/// Asks the cards at those places on the PCI bus, by the first of the libraries
/// that can be loaded.
pub(super) fn read(libraries: &[OsString], cards: &[&str]) -> Result<Vec<Gpu>, NotTold> {
    let mut answer = Err(NotTold::Absent("NVIDIA's library is looked for nowhere".to_owned()));
    for library in libraries {
        answer = read_by(library, cards);
        if !matches!(answer, Err(NotTold::Absent(_))) {
            break;
        }
    }
    answer
}

fn read_by(library: &OsString, cards: &[&str]) -> Result<Vec<Gpu>, NotTold> {
    let nvml = Nvml::builder().lib_path(library).init()?;
    let driver = nvml.sys_driver_version().map(|version| short(&version)).unwrap_or_default();
    let mut gpus = Vec::new();
    for card in cards {
        let device = match nvml.device_by_pci_bus_id(*card) {
            Ok(device) => device,
            // One that the driver does not serve: it was given to a guest.
            Err(NvmlError::NotFound | NvmlError::InvalidArg) => continue,
            Err(error) => return Err(error.into()),
        };
        gpus.push(Gpu { place: (*card).to_owned(), driver: driver.clone(), ..gpu(&nvml, &device)? });
    }
    Ok(gpus)
}

fn gpu(nvml: &Nvml, device: &Device<'_>) -> Result<Gpu, NotTold> {
    let memory = match device.memory_info() {
        Ok(memory) => Some(memory),
        // nvidia-smi of a driver that old says it in another way.
        Err(error @ (NvmlError::FailedToLoadSymbol(_) | NvmlError::GpuLost)) => return Err(error.into()),
        Err(_) => None,
    };
    let number = |told: Result<u32, NvmlError>| told.ok().map(f64::from);
    let watts = |milliwatts: Result<u32, NvmlError>| number(milliwatts).map(|milliwatts| milliwatts / 1000.0);
    let hertz = |mega: Result<u32, NvmlError>| number(mega).map(|mega| mega * MEGA);
    let rates = device.utilization_rates().ok();
    let words = |told: Result<String, NvmlError>| told.map(|text| short(&text)).unwrap_or_default();
    let state = device.performance_state().ok().map(|state| state.as_c()).filter(|state| *state <= 15);
    Ok(Gpu {
        model: words(device.name()),
        uuid: words(device.uuid()),
        performance_state: state.map(|state| format!("P{state}")).unwrap_or_default(),
        utilisation: rates.as_ref().map(|rates| f64::from(rates.gpu)),
        memory_busy: rates.as_ref().map(|rates| f64::from(rates.memory)),
        encoder: device.encoder_utilization().ok().map(|told| f64::from(told.utilization)),
        decoder: device.decoder_utilization().ok().map(|told| f64::from(told.utilization)),
        memory_size: memory.as_ref().map(|memory| memory.total as f64),
        memory_used: memory.as_ref().map(|memory| memory.used as f64),
        temperature: number(device.temperature(TemperatureSensor::Gpu)),
        memory_temperature: memory_temperature(device),
        slows_at: number(device.temperature_threshold(TemperatureThreshold::Slowdown)),
        stops_at: number(device.temperature_threshold(TemperatureThreshold::GpuMax)),
        power: watts(device.power_usage()),
        power_limit: watts(device.enforced_power_limit()),
        clock: hertz(device.clock_info(Clock::Graphics)),
        memory_clock: hertz(device.clock_info(Clock::Memory)),
        fan: number(device.fan_speed(0)),
        processes: processes(nvml, device),
        ..Gpu::default()
    })
}

fn memory_temperature(device: &Device<'_>) -> Option<f64> {
    let told = device.field_values_for(&[FieldId(NVML_FI_DEV_MEMORY_TEMP)]).ok()?.into_iter().next()?.ok()?;
    let celsius = match told.value.ok()? {
        SampleValue::U32(value) => f64::from(value),
        SampleValue::U64(value) => value as f64,
        SampleValue::I64(value) => value as f64,
        SampleValue::F64(value) => value,
    };
    (celsius > 0.0 && celsius < 200.0).then_some(celsius)
}

/// Those that compute and those that draw; one that does both is told once.
fn processes(nvml: &Nvml, device: &Device<'_>) -> Vec<Process> {
    let lists = [device.running_compute_processes(), device.running_graphics_processes()];
    let mut processes: Vec<Process> = Vec::new();
    for told in lists.into_iter().flatten().flatten().take(READ_PROCESSES) {
        let pid = f64::from(told.pid);
        if processes.iter().any(|process| process.pid == Some(pid)) {
            continue;
        }
        let memory = match told.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes as f64),
            UsedGpuMemory::Unavailable => None,
        };
        let name = nvml.sys_process_name(told.pid, 256).map(|name| program(&name)).unwrap_or_default();
        processes.push(Process { pid: Some(pid), name, memory });
    }
    processes
}

//! Answers as Docker's engine does, for the generated host.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use serde_json::{Value, json};

use super::{CONTAINERS, container_id, container_pid};

pub(super) fn serve(listener: &UnixListener) {
    for stream in listener.incoming().flatten() {
        // Who goes away while being answered is no loss.
        let _ = answer(stream);
    }
}

fn answer(mut stream: UnixStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            more => request.extend_from_slice(&chunk[..more]),
        }
    }
    let text = String::from_utf8_lossy(&request);
    let target = text.split(' ').nth(1).unwrap_or_default();
    let body = body(target).to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn body(target: &str) -> Value {
    match target.split(['?', '/']).collect::<Vec<_>>().as_slice() {
        [_, "version", ..] => json!({"Version": "28.0.1", "ApiVersion": "1.48"}),
        [_, "containers", "json", ..] => (0..CONTAINERS).map(listed).collect(),
        [_, "containers", id, "json", ..] => {
            (0..CONTAINERS).find(|number| container_id(*number) == *id).map_or(Value::Null, inspected)
        }
        [_, "system", "df", ..] => json!({"LayersSize": 5_000_000_000_u64,
            "Images": (0..150).map(|_| json!({"Containers": 1, "Size": 100_000_000, "SharedSize": 0, "Id": "sha256:0", "RepoTags": ["x:1"]})).collect::<Vec<_>>(),
            "Containers": (0..CONTAINERS).map(|_| json!({"SizeRw": 1_000})).collect::<Vec<_>>(),
            "Volumes": (0..100).map(|_| json!({"UsageData": {"RefCount": 1, "Size": 5}})).collect::<Vec<_>>(), "BuildCache": []}),
        _ => Value::Null,
    }
}

fn listed(number: usize) -> Value {
    json!({"Id": container_id(number), "Names": [format!("/stack{}-web-1", number)], "Image": "registry.example/app:1",
        "ImageID": format!("sha256:{}", container_id(number)), "Command": "/bin/app --listen", "Created": 1,
        "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8000 + number, "Type": "tcp"}],
        "Labels": {"com.docker.compose.project": format!("stack{number}"), "com.docker.compose.service": "web",
            "com.docker.compose.container-number": "1", "com.docker.compose.config-hash": container_id(number),
            "org.opencontainers.image.source": "https://example.org/app", "org.opencontainers.image.title": "app"},
        "State": "running", "Status": "Up 5 days (healthy)", "HostConfig": {"NetworkMode": "stack"},
        "NetworkSettings": {"Networks": {"stack": {"NetworkID": container_id(number), "IPAddress": "172.18.0.2", "Gateway": "172.18.0.1"}}},
        "Mounts": [{"Type": "bind", "Source": "/srv/app", "Destination": "/data", "Mode": "rw", "RW": true}]})
}

fn inspected(number: usize) -> Value {
    let check = json!({"Start": "2026-11-20T20:37:33Z", "End": "2026-11-20T20:37:33Z", "ExitCode": 0, "Output": "ok ".repeat(300)});
    json!({"Id": container_id(number), "RestartCount": 0,
        "State": {"Pid": container_pid(number), "ExitCode": 0, "OOMKilled": false, "Error": "", "StartedAt": "2026-11-20T20:37:33Z",
            "FinishedAt": "0001-01-01T00:00:00Z", "Health": {"Status": "healthy", "Log": vec![check; 5]}},
        "HostConfig": {"NetworkMode": "stack", "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}},
        "Config": {"Image": "registry.example/app:1", "Env": vec!["KEY=value"; 30]}})
}

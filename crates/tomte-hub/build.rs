//! Embeds the browser interface, as `make web` left it in `web/dist`.
//!
//! Never runs Node: when nothing was built, nothing is embedded, and the hub
//! serves a page that says how to build it. When what was built is of other
//! sources than those that are there, it is embedded all the same, with a
//! warning.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What the interface is made of; `web/build/sources.mjs` has the same list.
const SOURCES: &[&str] = &["index.html", "package-lock.json", "vite.config.ts", "public", "src"];

fn main() -> io::Result<()> {
    let web = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../web");
    let dist = web.join("dist");
    println!("cargo::rerun-if-changed=build.rs");
    let mut code = String::from("&[\n");
    if dist.join("index.html").is_file() {
        println!("cargo::rerun-if-changed={}", dist.display());
        for source in SOURCES {
            println!("cargo::rerun-if-changed={}", web.join(source).display());
        }
        if fs::read_to_string(dist.join("sources.txt")).ok().as_deref().map(str::trim) != Some(&*fingerprint(&web)?) {
            println!("cargo::warning=web/dist is of other sources than web/src: run `make web` to build it anew");
        }
        for path in files(&dist, "")? {
            if !path.ends_with(".br") && !path.ends_with(".gz") && path != "sources.txt" {
                write_file(&mut code, &dist, &path)?;
            }
        }
    } else if web.is_dir() {
        // Told when it appears. A path that is missing would mean: each time.
        println!("cargo::rerun-if-changed={}", web.display());
    }
    code.push_str("]\n");
    fs::write(PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("web.rs"), code)
}

/// One file as an expression.
fn write_file(code: &mut String, dist: &Path, path: &str) -> io::Result<()> {
    let bytes = |path: &Path| format!("include_bytes!({:?})", path.display().to_string());
    let packed = |ending: &str| {
        let packed = dist.join(format!("{path}.{ending}"));
        if packed.is_file() { format!("Some({})", bytes(&packed)) } else { "None".to_owned() }
    };
    let plain = dist.join(path);
    let tag = fs::read(&plain)?
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    writeln!(
        code,
        "File {{ path: {path:?}, tag: \"{tag:016x}\", plain: {}, brotli: {}, gzip: {} }},",
        bytes(&plain),
        packed("br"),
        packed("gz")
    )
    .expect("a text can be written to");
    Ok(())
}

/// The files below a folder, by their paths from it, in order.
fn files(folder: &Path, prefix: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // What is no text is no file of ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path(), &path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What the interface is built from, as one number: FNV-1a over the names and
/// contents of all sources.
fn fingerprint(web: &Path) -> io::Result<String> {
    let mut paths = Vec::new();
    for source in SOURCES {
        let path = web.join(source);
        if path.is_dir() {
            paths.extend(files(&path, source)?);
        } else if path.is_file() {
            paths.push((*source).to_owned());
        }
    }
    paths.retain(|path| !path.ends_with(".test.ts") && path != "src/lib/api/schema.ts");
    paths.sort();
    let mut hash = 0x811c_9dc5_u32;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    for path in paths {
        add(path.as_bytes());
        add(&fs::read(web.join(&path))?);
    }
    Ok(format!("{hash:08x}"))
}

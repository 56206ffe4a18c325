//! Against real servers on this machine: TLS with a certificate that ends, a
//! web server, a mosquitto.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tomte_model::Clock as _;

use super::*;

/// What the checks of that configuration see, by their names.
fn look(toml: &str) -> impl Fn(&str) -> Facet + use<> {
    let settings: Settings = toml::from_str(toml).unwrap();
    let scopes = make(&Root::system(), &settings).collect(tomte_collect::SystemClock.now());
    move |name| {
        let found = scopes.iter().flat_map(|scope| &scope.facets).find(|facet| facet.resource.name == name);
        found.unwrap_or_else(|| panic!("no check {name} in {scopes:?}")).clone()
    }
}

fn text(facet: &Facet, name: &str) -> String {
    facet.attribute(name).map(ToString::to_string).unwrap_or_default()
}

/// A server that answers every connection alike, and lives as long as the test.
fn serve(answer: impl Fn(std::net::TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap())));
    port
}

#[test]
fn a_web_page_is_judged_by_status_and_body_and_what_does_not_answer_is_down() {
    let page = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 6\r\n\r\nshort!");
    });
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().map(|address| (silent, address.port())).unwrap();
    let check = |name: &str, kind: &str, target: &str, more: &str| {
        format!("[[check]]\nname = \"{name}\"\ntype = \"{kind}\"\ntarget = \"{target}\"\n{more}\n")
    };
    let url = format!("http://127.0.0.1:{page}/x");
    let seen = look(
        &[
            check("status", "http", &url, ""),
            check("teapot", "http", &url, "status = 418\nexpect = \"short\""),
            check("body", "http", &url, "status = 418\nexpect = \"stout\""),
            check("port", "tcp", &format!("127.0.0.1:{page}"), ""),
            check("closed", "tcp", &format!("127.0.0.1:{closed}"), ""),
            check("silent", "http", &format!("http://127.0.0.1:{}/", silent.1), "timeout = 1"),
            check("name", "dns", "localhost", "expect = \"127.0.0.1\""),
            check("other", "dns", "localhost", "expect = \"192.0.2.1\""),
        ]
        .concat(),
    );
    assert_eq!((seen("status").reading("up"), seen("status").reading("http_status")), (Some(0.0), Some(418.0)));
    assert_eq!(text(&seen("status"), "error"), "it answers with HTTP status 418");
    assert_eq!((seen("teapot").reading("up"), seen("teapot").reading("down")), (Some(1.0), Some(0.0)));
    assert!(seen("teapot").reading("latency_seconds").is_some_and(|seconds| seconds > 0.0));
    assert_eq!(text(&seen("body"), "error"), "what is expected is not in its answer");
    assert_eq!((seen("port").reading("up"), seen("closed").reading("up")), (Some(1.0), Some(0.0)));
    assert!(text(&seen("closed"), "error").contains("refused") && seen("closed").reading("latency_seconds").is_none());
    assert_eq!(text(&seen("silent"), "error"), "no answer within 1 s");
    assert_eq!((seen("name").reading("up"), seen("other").reading("up")), (Some(1.0), Some(0.0)));
}

#[test]
fn a_certificate_that_is_about_to_end_is_told_also_when_it_is_not_trusted() {
    let now = tomte_collect::SystemClock.now().wall;
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    // The year after next at the latest, to the day.
    let year: i32 = now.to_string()[..4].parse().unwrap();
    parameters.not_after = rcgen::date_time_ymd(year + 1, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certificate.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let server = Arc::new(server);
    let port = serve(move |stream| {
        let session = rustls::ServerConnection::new(server.clone()).unwrap();
        let mut stream = rustls::StreamOwned::new(session, stream);
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let seen = look(&format!(
        "[[check]]\nname = \"strange\"\ntype = \"http\"\ntarget = \"https://localhost:{port}/\"\n
         [[check]]\nname = \"known\"\ntype = \"http\"\ntarget = \"https://localhost:{port}/\"\nca_file = \"{}\"\n
         [[check]]\nname = \"any\"\ntype = \"http\"\ntarget = \"https://localhost:{port}/\"\nverify = false\n",
        ca.display()
    ));
    for (name, up) in [("strange", 0.0), ("known", 1.0), ("any", 1.0)] {
        let facet = seen(name);
        assert_eq!(facet.reading("up"), Some(up), "{facet:?}");
        let left = facet.reading("certificate_remaining_seconds").unwrap();
        assert!(left > 0.0 && left <= 366.0 * 86_400.0, "{facet:?}");
    }
    assert!(text(&seen("strange"), "error").contains("certificate"), "{:?}", seen("strange"));
}

#[test]
fn this_machine_answers_its_own_echo_requests() {
    let settings = "[[check]]\nname = \"self\"\ntype = \"ping\"\ntarget = \"127.0.0.1\"\n";
    let settings: Settings = toml::from_str(settings).unwrap();
    let scopes = make(&Root::system(), &settings).collect(tomte_collect::SystemClock.now());
    match &scopes[1].outcome {
        Outcome::Complete => {
            let facet = &scopes[1].facets[0];
            assert_eq!((facet.reading("up"), facet.reading("packet_loss_ratio")), (Some(1.0), Some(0.0)), "{facet:?}");
        }
        Outcome::Denied { cure, .. } => {
            assert!(cure.contains("ping_group_range"), "{cure}");
            eprintln!("SKIPPED the echo itself: this machine lets this user send none");
        }
        other => panic!("{other:?}"),
    }
}

struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_broker_gives_back_what_was_published() {
    let Some(program) =
        ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"].into_iter().find(|path| std::fs::metadata(path).is_ok())
    else {
        return eprintln!("SKIPPED a_real_broker_gives_back_what_was_published: mosquitto is not installed");
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mosquitto.conf");
    std::fs::write(&file, format!("listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")).unwrap();
    let mut broker = Command::new(program);
    broker.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _broker = Broker(broker.spawn().unwrap());
    let end = Instant::now() + Duration::from_secs(120);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "the broker did not start");
        thread::sleep(Duration::from_millis(20));
    }
    let seen = look(&format!("[[check]]\nname = \"broker\"\ntype = \"mqtt\"\ntarget = \"mqtt://127.0.0.1:{port}\"\n"));
    assert_eq!(seen("broker").reading("up"), Some(1.0), "{:?}", seen("broker"));
}

#![allow(clippy::unwrap_used)]
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<Commands, String> {
    Commands::parse(Path::new("/x/commands.toml"), text).map_err(|error| error.to_string())
}

fn host() -> HostId {
    HostId::from_parts(1, 2)
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// The file that is printed is the one that is loaded.
#[test]
fn the_sample_is_a_list_that_works() {
    let commands = parsed(SAMPLE).unwrap();
    let triggers: Vec<_> = commands.available.iter().map(|command| command.trigger.as_str()).collect();
    assert_eq!(triggers, ["info", "df", "ps", "ping", "restart"]);
    assert_eq!(commands.per_minute, 30);
    let buttons: Vec<_> = commands.buttons.iter().map(|button| button.name.as_str()).collect();
    assert_eq!(buttons, ["info", "restart-nginx"]);
    let argv = |trigger: &str, arguments: &[&str]| {
        commands.allowed(host(), trigger, &texts(arguments)).map(|(_, allowed)| allowed.argv)
    };
    assert_eq!(argv("df", &[]).unwrap(), ["/usr/bin/df", "-h"]);
    assert_eq!(argv("df", &["/"]).unwrap(), ["/usr/bin/df", "-h", "/"]);
    assert_eq!(argv("ps", &["-pcpu"]).unwrap().last().unwrap(), "--sort=-pcpu");
    assert_eq!(argv("ping", &["nas.lan", "3"]).unwrap()[2..], ["-c", "3", "-w", "10", "nas.lan"]);
    for (trigger, bad) in [
        ("df", vec!["/etc/../root"]),
        ("df", vec!["/", "/"]),
        ("ping", vec!["-f", "1"]),
        ("ping", vec!["nas.lan", "6"]),
        ("ping", vec!["nas.lan"]),
        ("restart", vec!["sshd.service"]),
        ("info", vec!["-r"]),
    ] {
        assert!(matches!(argv(trigger, &bad), Err(NotAllowed::Arguments(_))), "{trigger} {bad:?}");
    }
    assert_eq!(argv("rm", &[]), Err(NotAllowed::Unknown));
    let restart = commands.command("restart").unwrap();
    assert_eq!((restart.mqtt, restart.risk, restart.user.as_str()), (MqttRule::Ask, Risk::Guarded, "root"));
    // What is switched off in the sample is what is meant without it.
    let on = SAMPLE.replace("#per_minute", "per_minute");
    assert_eq!(parsed(&on).unwrap().per_minute, commands.per_minute);
    let switch: String =
        SAMPLE[SAMPLE.find("# [[commands.switch]]").unwrap()..].lines().map(|l| l[2..].to_owned() + "\n").collect();
    let more = "[[commands.available]]\ntrigger = \"mode\"\ncommand = [\"/bin/mode\", \"{m}\"]\n\
                params = [{ name = \"m\", one_of = [\"night\", \"day\"] }]\n";
    let commands = parsed(&format!("{more}{switch}")).unwrap();
    assert_eq!(commands.switches[0].off, Preset { trigger: "mode".into(), arguments: texts(&["day"]) });
}

#[test]
fn mistakes_are_told_with_their_place() {
    let one = |rest: &str| format!("\n[[commands.available]]\ntrigger = \"a\"\n{rest}\n");
    let ok = "command = [\"/bin/a\"]\n";
    for (text, said) in [
        (one("command = [\"a\"]"), "no absolute path"),
        (one("command = []"), "has no command"),
        (one("command = [\"/bin/a\"]\nparams = [{ name = \"p\", regex = \"a\" }]"), "{p} stands nowhere"),
        (one("command = [\"/bin/a\", \"{p}\"]\nparams = [{ name = \"p\" }]"), "needs exactly one of"),
        (
            one("command = [\"/bin/a\", \"{p}\"]\nparams = [{ name = \"p\", regex = \"a\", range = [1, 2] }]"),
            "exactly one",
        ),
        (one("command = [\"/bin/a\", \"{p}\"]\nparams = [{ name = \"p\", regex = \"(\" }]"), "p: "),
        (one("command = [\"/bin/a\", \"{p}\"]\nparams = [{ name = \"p\", under = \"x\" }]"), "exactly one"),
        (one("command = [\"/bin/{p}\", \"{p}\"]\nparams = [{ name = \"p\", regex = \"a\" }]"), "by this file alone"),
        (one(&format!("{ok}limit = \"0s\"")), "whole seconds"),
        (one(&format!("{ok}output = \"1MB\"")), "64KiB"),
        (one(&format!("{ok}risk = \"dangerous\"\nmqtt = \"run\"")), "write mqtt = \"ask\""),
        (one(&format!("{ok}user = \"\"")), "is no user"),
        (one(&format!("{ok}signed = true")), "set commands.key_file"),
        (one(ok) + &one(ok), "is there already"),
        (one(ok).replace("\"a\"", "\"list\""), "built in"),
        (one(ok).replace("\"a\"", "\"A b\""), "a-z 0-9"),
        (one(ok) + "[[commands.button]]\nname = \"b\"\nrun = [\"c\"]\n", "no command \"c\""),
        (one(ok) + "[[commands.button]]\nname = \"b\"\nrun = [\"a\", \"x\"]\n", "takes no parameters"),
        (one(ok) + "[commands]\nper_minut = 3\n", "did you mean `per_minute`"),
        ("[commands]\nper_minute = 0\n".to_owned(), "from 1 to 6000"),
    ] {
        let error = parsed(&text).unwrap_err();
        assert!(error.contains(said), "{text}\n{error}");
        assert!(error.starts_with("/x/commands.toml:"), "{error}");
    }
    let error = parsed(&one("command = [\"a\"]")).unwrap_err();
    assert!(error.starts_with("/x/commands.toml:2:"), "{error}");
}

#[test]
fn only_roots_file_in_roots_folders_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let me = rustix::process::geteuid().as_raw();
    let path = folder.path().join("commands.toml");
    assert!(read(&path, me).unwrap().is_none());
    fs::write(&path, SAMPLE).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(&path, 0o644);
    assert_eq!(read(&path, me).unwrap().as_deref(), Some(SAMPLE));
    mode(&path, 0o664);
    let error = read(&path, me).unwrap_err().to_string();
    assert!(error.contains("chmod go-w") && error.contains("commands.toml"), "{error}");
    mode(&path, 0o644);
    mode(folder.path(), 0o777);
    assert!(matches!(read(&path, me), Err(ConfigError::Untrusted { path, .. }) if path.is_dir()));
    mode(folder.path(), 0o755);
    let error = read(&path, me + 1).unwrap_err().to_string();
    assert!(error.contains("does not belong to root") && error.contains("chown root"), "{error}");
    assert_eq!(Commands::load(&path).is_ok(), me == 0);
    if me == 0 {
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        assert!(Commands::load(&path).unwrap_err().to_string().contains("does not belong to root"));
        // A link is as good as what it leads to.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(Commands::load(&link).is_err());
    }
}

#[test]
fn a_key_is_kept_from_others_and_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let commands = parsed(&format!("[commands]\nkey_file = \"{}\"\n", path.display())).unwrap();
    assert!(commands.key().is_err());
    fs::write(&path, "0123456789abcdef\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert!(commands.key().unwrap_err().to_string().contains("chmod o="));
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(commands.key().unwrap().unwrap(), b"0123456789abcdef");
    fs::write(&path, "short").unwrap();
    assert!(commands.key().unwrap_err().to_string().contains("less than 16"));
}

proptest! {
    #[test]
    fn any_text_is_safe(text in any::<String>(), arguments in prop::collection::vec(any::<String>(), 0..4)) {
        let _ = parsed(&text);
        let commands = parsed(SAMPLE).unwrap();
        for command in &commands.available {
            if let Ok(allowed) = command.with(host(), &arguments) {
                prop_assert!(allowed.argv[0].starts_with("/usr/bin/"));
                prop_assert!(allowed.argv.len() <= 7);
            }
        }
    }
}

//! `tapeline doctor` on made-up hosts, each a file `tree.txt` in a folder `tests/golden/host-*`,
//! and on this machine. `UPDATE_GOLDEN=1` rewrites what is expected; read the difference.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Ended, Folder, program, run};

fn golden(host: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("host-{host}"))
}

/// Lays a host's files out in a folder. In `tree.txt` a line `== path` begins a file; `{0-7}` in a
/// path stands for one file each, and `{cpu}`, `{cpu+8}` in it for that number.
fn lay_out(host: &str) -> Folder {
    let folder = Folder::quick(&format!("host-{host}"));
    let text = fs::read_to_string(golden(host).join("tree.txt")).unwrap();
    let mut parts = text.split("\n== ");
    parts.next();
    for part in parts {
        let (path, content) = part.split_once('\n').unwrap_or((part, ""));
        for (path, content) in expanded(path, content) {
            let place = folder.join(&path.replace("{esc}", "\x1b"));
            if let Some(place) = place.to_str().unwrap().strip_suffix(" (folder)") {
                fs::create_dir_all(place).unwrap();
                continue;
            }
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, content.replace("{esc}", "\x1b") + "\n").unwrap();
        }
    }
    folder
}

fn expanded(path: &str, content: &str) -> Vec<(String, String)> {
    let range = path.split_once('{').and_then(|(front, rest)| {
        let (range, back) = rest.split_once('}')?;
        let (first, last) = range.split_once('-')?;
        Some((
            front,
            first.parse::<usize>().ok()?,
            last.parse::<usize>().ok()?,
            back,
        ))
    });
    let Some((front, first, last, back)) = range else {
        return vec![(path.to_string(), content.to_string())];
    };
    (first..=last)
        .map(|cpu| {
            let content = content
                .replace("{cpu}", &cpu.to_string())
                .replace("{cpu+8}", &(cpu + 8).to_string())
                .replace("{cpu-8}", &cpu.saturating_sub(8).to_string());
            (format!("{front}{cpu}{back}"), content)
        })
        .collect()
}

/// What the program says about a made-up host.
fn doctor(host: &str, root: &Folder, more: &[&str]) -> Ended {
    let args = fs::read_to_string(golden(host).join("args.txt")).unwrap_or_default();
    let mut command = program();
    command
        .current_dir(golden(host))
        .arg("doctor")
        .arg("--root")
        .arg(root.path());
    command.args(args.split_whitespace()).args(more);
    run(&mut command)
}

#[track_caller]
fn compare(host: &str, name: &str, said: &str) {
    let path = golden(host).join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, said).unwrap();
        return;
    }
    let want = fs::read_to_string(&path).unwrap_or_default();
    let first = want
        .lines()
        .zip(said.lines())
        .position(|(want, said)| want != said);
    assert!(
        want == said,
        "{} differs from line {} on; it is now:\n{said}",
        path.display(),
        first.map_or(want.lines().count().min(said.lines().count()), |line| line) + 1
    );
}

/// The ids of a report's checks that came out so.
fn ids(report: &serde_json::Value, verdicts: &[&str]) -> BTreeSet<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| verdicts.contains(&check["verdict"].as_str().unwrap()))
        .map(|check| check["id"].as_str().unwrap().to_string())
        .collect()
}

/// Compares all that is said of a host with what is stored, and returns the report.
#[track_caller]
fn check(host: &str, code: i32) -> serde_json::Value {
    let root = lay_out(host);
    let text = doctor(host, &root, &[]).expect(code).stdout;
    compare(host, "expected.txt", &text);
    let report = doctor(host, &root, &["--json"]).expect(code).json();
    let pretty = serde_json::to_string_pretty(&report).unwrap() + "\n";
    compare(host, "expected.json", &pretty);
    let script = doctor(host, &root, &["--fix", "--dry-run"])
        .expect(0)
        .stdout;
    compare(host, "expected.sh", &script);
    is_a_script(&script, &root);
    let is_shown = |c: char| c == '\n' || !c.is_control();
    for said in [&text, &pretty, &script] {
        assert!(said.chars().all(is_shown), "control characters: {said:?}");
    }
    for line in text.lines() {
        // A word may be longer, as a path is.
        let is_one_word = line.split_whitespace().count() <= 2;
        assert!(
            line.chars().count() <= 96 || is_one_word,
            "too wide: {line}"
        );
    }
    let named: BTreeSet<String> = script
        .lines()
        .filter_map(|line| line.strip_prefix("# [")?.split_once(']'))
        .map(|(id, _)| id.to_string())
        .collect();
    assert_eq!(
        named,
        ids(&report, &["FAIL", "WARN"]),
        "what the script is about"
    );
    report
}

fn is_a_script(script: &str, folder: &Folder) {
    let path = folder.write("script.sh", script);
    let parsed = Command::new("bash").arg("-n").arg(&path).output().unwrap();
    assert!(
        parsed.status.success(),
        "bash -n: {}",
        String::from_utf8_lossy(&parsed.stderr)
    );
    match Command::new("shellcheck").arg(&path).output() {
        Ok(out) => {
            assert!(
                out.status.success(),
                "{}",
                String::from_utf8_lossy(&out.stdout)
            );
        }
        Err(_) => println!("skipped: shellcheck is not installed"),
    }
}

#[test]
fn a_host_with_everything_right_has_nothing_to_mend() {
    let report = check("ideal", 0);
    assert_eq!(ids(&report, &["FAIL", "WARN", "UNKNOWN"]), BTreeSet::new());
    assert_eq!(report["schema"], "tapeline-doctor/1");
}

#[test]
fn an_untuned_host_is_told_all_of_it() {
    let report = check("untuned", 4);
    let good = ids(&report, &["PASS"]);
    // What cannot be wrong on bare metal with such a processor, and is not.
    let want = [
        "cores",
        "cpu-quota",
        "kernel",
        "log-filesystem",
        "platform",
        "steal",
        "tsc-flags",
    ];
    assert_eq!(good, want.map(str::to_string).into());
}

#[test]
fn a_guest_is_not_told_to_set_the_hardware() {
    let report = check("cloud-vm", 0);
    for id in ["cpu-governor", "turbo", "smt-siblings", "c-states"] {
        let check = find(&report, id);
        assert_ne!(check["fix"]["kind"], "command", "{id}");
    }
    assert_eq!(find(&report, "isolated-cores")["fix"]["kind"], "command");
}

#[test]
fn a_container_is_told_what_its_host_must_do() {
    let report = check("container", 4);
    for check in report["checks"].as_array().unwrap() {
        assert_ne!(check["fix"]["kind"], "command", "{}", check["id"]);
    }
    assert_eq!(find(&report, "cpu-quota")["verdict"], "FAIL");
}

#[test]
fn an_old_kernel_lacks_much_and_says_so() {
    let report = check("old-kernel", 4);
    assert_eq!(find(&report, "cpu-quota")["verdict"], "FAIL");
    assert_eq!(find(&report, "kernel")["verdict"], "WARN");
    assert!(ids(&report, &["UNKNOWN"]).len() > 10);
}

#[test]
fn two_cores_are_not_told_to_isolate_one() {
    let report = check("two-cores", 0);
    for id in [
        "isolated-cores",
        "tickless-cores",
        "rcu-offload",
        "irq-affinity",
        "kernel-workers",
    ] {
        assert_eq!(find(&report, id)["fix"]["kind"], "choice", "{id}");
    }
}

#[test]
fn what_no_kernel_writes_is_unknown_and_never_run() {
    let root = lay_out("hostile");
    let code = 4;
    let report = check("hostile", code);
    assert!(ids(&report, &["UNKNOWN"]).len() > 20);
    let script = doctor("hostile", &root, &["--fix", "--dry-run"])
        .expect(0)
        .stdout;
    for line in script.lines().filter(|line| !line.starts_with('#')) {
        assert!(!line.contains("reboot"), "{line}");
    }
}

#[track_caller]
fn find<'a>(report: &'a serde_json::Value, id: &str) -> &'a serde_json::Value {
    let mut checks = report["checks"].as_array().unwrap().iter();
    checks
        .find(|check| check["id"] == id)
        .unwrap_or_else(|| panic!("no check {id}"))
}

#[test]
fn fixing_by_itself_is_refused() {
    let ended = run(program().args(["doctor", "--fix"])).expect(2);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    run(program().args(["doctor", "--root", "/nowhere/at/all"]))
        .expect(2)
        .says(&["no host's root"]);
}

#[test]
fn cores_that_share_a_core_are_not_isolated_but_chosen_anew() {
    let root = lay_out("untuned");
    let mut command = program();
    command
        .current_dir(golden("untuned"))
        .args(["doctor", "--json", "-c", "siblings.toml"]);
    let report = run(command.arg("--root").arg(root.path())).expect(4).json();
    assert!(
        find(&report, "smt-siblings")["fix"]["text"]
            .as_str()
            .unwrap()
            .contains("13-15")
    );
    for id in [
        "isolated-cores",
        "tickless-cores",
        "rcu-offload",
        "irq-affinity",
        "kernel-workers",
    ] {
        let fix = &find(&report, id)["fix"];
        assert_eq!(fix["kind"], "choice", "{id}: {fix}");
    }
}

#[test]
fn an_interface_that_is_not_there_fails_the_card() {
    let folder = Folder::quick("doctor-interface");
    let text = "[source]\nlines = [\"239.1.1.1:5000\"]\ninterface = \"192.0.2.77\"\n";
    let config = folder.write("live.toml", text);
    let report = run(program().args(["doctor", "--json", "-c"]).arg(config))
        .expect(4)
        .json();
    let nic = find(&report, "nic");
    assert_eq!(nic["verdict"], "FAIL");
    assert!(
        nic["value"].as_str().unwrap().contains("192.0.2.77"),
        "{nic}"
    );
}

/// Anybody's user and group.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// The program as a user who may nothing: root may do everything, so that it would not show what
/// needs to be root. `folder` must be one that all may write to.
fn without_privileges(folder: &Folder) -> Command {
    if !is_root() {
        return program();
    }
    // Where the tests are built others may not go.
    let copy = folder.join("tapeline");
    fs::copy(env!("CARGO_BIN_EXE_tapeline"), &copy).unwrap();
    let mut command = Command::new(copy);
    command
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command.uid(NOBODY).gid(NOBODY);
    command
}

#[test]
fn this_machine_is_looked_at_without_privileges_quickly_and_nothing_is_written() {
    let folder = Folder::quick("doctor-here");
    let everybody = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(), everybody).unwrap();
    let settings = [
        "kernel/sched_rt_runtime_us",
        "net/core/rmem_max",
        "vm/overcommit_memory",
    ];
    let read = || settings.map(|name| fs::read_to_string(format!("/proc/sys/{name}")).ok());
    let before = read();
    let mut command = without_privileges(&folder);
    let empty = folder.join("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o777)).unwrap();
    command.current_dir(&empty).args(["doctor", "--json"]);
    let started = Instant::now();
    let ended = run(&mut command);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let report = ended.json();
    let failed = report["summary"]["fail"].as_u64().unwrap();
    assert_eq!(ended.code, Some(if failed == 0 { 0 } else { 4 }));
    assert_eq!(
        fs::read_dir(&empty).unwrap().count(),
        0,
        "it wrote something"
    );
    assert_eq!(read(), before);
    // What every Linux shows to everybody.
    for id in ["platform", "cores", "kernel", "overcommit", "load"] {
        assert_ne!(find(&report, id)["verdict"], "UNKNOWN", "{id}");
    }
}

fn tuning() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning")
}

const SCRIPTS: [&str; 5] = [
    "steps.sh",
    "bare-metal.sh",
    "vm.sh",
    "container.sh",
    "tapeline/tuned.conf",
];

/// The ids in brackets in a script's comments.
fn ids_in(script: &str) -> BTreeSet<String> {
    let comments = script
        .lines()
        .filter_map(|line| line.trim().strip_prefix('#'));
    let words = comments.flat_map(|line| line.split_whitespace());
    let ids = words.filter_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    ids.map(str::to_string).collect()
}

#[test]
fn the_scripts_set_what_is_checked_and_all_of_it() {
    let mut named = BTreeSet::new();
    for script in SCRIPTS {
        let path = tuning().join(script);
        named.extend(ids_in(&fs::read_to_string(&path).unwrap()));
        if !script.ends_with(".sh") {
            continue;
        }
        let parsed = Command::new("bash").arg("-n").arg(&path).status().unwrap();
        assert!(parsed.success(), "bash -n {script}");
        let checked = Command::new("shellcheck")
            .arg("-x")
            .arg(&path)
            .current_dir(tuning().join(".."))
            .output();
        match checked {
            Ok(out) => assert!(
                out.status.success(),
                "{}",
                String::from_utf8_lossy(&out.stdout)
            ),
            Err(_) => println!("skipped: shellcheck is not installed"),
        }
    }
    let settable = tuning::doctor::checks::all().filter(|check| check.is_settable);
    let settable: BTreeSet<String> = settable.map(|check| check.id.to_string()).collect();
    assert_eq!(named, settable);
}

#[test]
fn the_guide_has_every_check() {
    let path = tuning().join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    const MARK: &str = "\n## The checks\n\n";
    let (front, table) = text.split_once(MARK).unwrap();
    let mut want =
        String::from("The more important first.\n\n| check | why it matters |\n| --- | --- |\n");
    for check in tuning::doctor::checks::all() {
        want.push_str(&format!(
            "| `{}`: {} | {} |\n",
            check.id, check.title, check.why
        ));
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, format!("{front}{MARK}{want}")).unwrap();
        return;
    }
    assert!(
        table == want,
        "{} is not what the checks say",
        path.display()
    );
}

/// Runs a script of `tuning/` on a made-up host.
#[track_caller]
fn set_up(root: &Folder, args: &[&str]) -> String {
    let mut command = Command::new("bash");
    command.arg(tuning().join("bare-metal.sh")).args(args);
    command.env("TAPELINE_TUNING_ROOT", root.path());
    run(&mut command).expect(0).stdout
}

/// The files of a host whose text is a setting, with their text.
fn settings(root: &Folder) -> Vec<(PathBuf, String)> {
    let all = support::files_under(root.path(), &[""]).into_iter();
    all.map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
        .collect()
}

#[test]
fn the_script_for_bare_metal_mends_what_it_says_and_takes_it_back() {
    let root = lay_out("untuned");
    for cpu in 0..16 {
        root.write(&format!("sys/devices/system/cpu/cpu{cpu}/online"), "1\n");
    }
    let before = settings(&root);
    let report = doctor("untuned", &root, &["--json"]).expect(4).json();
    // Siblings of each other cannot be hot both.
    let said = set_up(&root, &["apply", "13-15", "eth0"]);
    assert!(said.contains("[cpu-governor]"), "{said}");
    // The kernel shows all choices, with the chosen one in brackets; a plain file does not.
    for name in ["enabled", "defrag"] {
        let name = format!("sys/kernel/mm/transparent_hugepage/{name}");
        let chosen = fs::read_to_string(root.join(&name)).unwrap();
        root.write(&name, format!("[{}]\n", chosen.trim()));
    }
    let hot = ["--config", "three.toml"];
    let args = [&["--json"], &hot[..]].concat();
    let mut command = program();
    command
        .current_dir(golden("untuned"))
        .arg("doctor")
        .arg("--root")
        .arg(root.path())
        .args(args);
    let after = run(&mut command).json();
    let open = ids(&after, &["FAIL", "WARN", "UNKNOWN"]);
    for id in [
        "cpu-governor",
        "energy-preference",
        "c-states",
        "turbo",
        "overcommit",
        "clock-source",
        "transparent-huge-pages",
        "thp-defrag",
        "numa-balancing",
        "watchdog",
        "busy-poll",
        "receive-buffers",
        "reverse-path",
        "kernel-workers",
    ] {
        assert!(
            ids(&report, &["FAIL", "WARN"]).contains(id),
            "{id} was right before"
        );
        assert!(
            !open.contains(id),
            "{id} is still open: {}",
            find(&after, id)
        );
    }
    set_up(&root, &["undo"]);
    let shown = |files: Vec<(PathBuf, String)>| -> Vec<(PathBuf, String)> {
        // What was chosen of several is put back by its name alone, which the kernel takes.
        let plain = |text: &str| match text.split_once('[').and_then(|(_, t)| t.split_once(']')) {
            Some((chosen, _)) => chosen.to_string(),
            None => text.trim().to_string(),
        };
        files
            .into_iter()
            .map(|(path, text)| (path, plain(&text)))
            .collect()
    };
    assert_eq!(shown(settings(&root)), shown(before));
}

#[test]
fn boot_parameters_are_printed_only() {
    let root = Folder::quick("doctor-boot");
    let said = set_up(&root, &["boot", "2-4"]);
    assert_eq!(
        said,
        "isolcpus=managed_irq,domain,2-4 nohz_full=2-4 rcu_nocbs=2-4\n"
    );
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

/// What the host refuses is said in a line each, and changes no result.
#[test]
fn what_the_host_refuses_is_said_and_done_without() {
    let _alone = support::alone();
    let folder = Folder::quick("host-options");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let capture = folder.join("s.itch");
    let sample = ["sample", "itch", "--symbols", "4", "--seconds", "1", "-o"];
    run(program().args(sample).arg(&capture)).expect(0);
    let plain = folder.write("plain.toml", support::SMALL);
    let wishes = format!(
        "{}\n[host]\nfifo_priority = 50\nlock_memory = true\nhuge_pages = \"reserved\"\n",
        support::SMALL
    );
    let wishes = folder.write("wishes.toml", wishes);
    let replay = |mut command: Command, config: &Path, name: &str| {
        let output = folder.join(name);
        command
            .arg("replay")
            .arg(&capture)
            .arg("-c")
            .arg(config)
            .arg("-o")
            .arg(&output);
        (run(&mut command).expect(0), support::digests(&output))
    };
    let (_, want) = replay(program(), &plain, "plain");
    let (ended, digests) = replay(program(), &wishes, "wishes");
    assert_eq!(digests, want);
    let lines = |ended: &Ended, text: &str| {
        ended
            .stderr
            .lines()
            .filter(|line| line.contains(text))
            .count()
    };
    let may = may_spin_in_real_time();
    assert_eq!(
        lines(&ended, "no real-time priority"),
        usize::from(!may),
        "{}",
        ended.stderr
    );
    if is_root() {
        assert_eq!(lines(&ended, "memory is not locked"), 0, "{}", ended.stderr);
    } else {
        println!("skipped: with privileges: this test does not run as root");
    }
    // Nobody, with little memory to lock: a later reservation must not fail for it.
    let mut shell = Command::new("bash");
    let nobody = without_privileges(&folder);
    shell
        .args(["-c", "ulimit -l 64 && exec \"$0\" \"$@\""])
        .arg(nobody.get_program());
    shell.env("NO_COLOR", "1").env_remove("RUST_LOG");
    if is_root() {
        shell.uid(NOBODY).gid(NOBODY);
    }
    let (ended, digests) = replay(shell, &wishes, "nobody");
    assert_eq!(digests, want);
    assert_eq!(lines(&ended, "memory is not locked"), 1, "{}", ended.stderr);
    assert_eq!(
        lines(&ended, "no real-time priority"),
        1,
        "{}",
        ended.stderr
    );
}

/// Whether this machine is one of those where the program asks for real time by itself.
fn may_spin_in_real_time() -> bool {
    let allowed = tuning::pin::allowed_cpus();
    let ground = tuning::realtime::Ground::read();
    is_root() && ground.allows(&tuning::pin::plan(&allowed, 2)).is_ok()
}

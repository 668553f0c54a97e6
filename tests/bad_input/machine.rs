//! Disks, peers and outputs that fail.

use super::*;

/// A peer that is not there stops the run before it starts; once it is there, the run goes on.
#[test]
fn a_peer_that_is_not_there_is_an_error_that_can_be_mended() {
    let folder = Folder::quick("peer");
    let file = folder.write("good.itch", itch_file(&little_session()));
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = folder.write("tcp.toml", format!("[orders]\ntcp = \"{address}\"\n"));
    let (ended, run) = replay(&folder, &file, &["-c", &config.display().to_string()]);
    ended.expect(5).says(&[
        &address.to_string(),
        "connect: Connection refused",
        "--resume",
    ]);
    let peer = TcpListener::bind(address).unwrap();
    let accepting = std::thread::spawn(move || {
        use std::io::Read;
        let mut received = Vec::new();
        peer.accept().unwrap().0.read_to_end(&mut received).unwrap();
    });
    tapeline(args![String::from("replay"), String::from("--resume"), run]).expect(0);
    accepting.join().unwrap();
    assert_eq!(manifest(&run)["state"], "complete");
}

/// A session whose log does not fit into some megabytes, and its undisturbed run.
fn large(folder: &Folder) -> (PathBuf, PathBuf, PathBuf) {
    let capture = folder.join("large.pcap");
    let sample = [
        "sample",
        "itch",
        "--symbols",
        "16",
        "--seconds",
        "6",
        "--rate",
        "10000",
        "-o",
    ];
    let sample = sample
        .map(std::ffi::OsString::from)
        .into_iter()
        .chain([capture.clone().into()]);
    tapeline(sample).expect(0);
    let config = folder.write("small.toml", SMALL);
    let twin = folder.join("twin");
    let mut command = program();
    command
        .arg("replay")
        .arg(&capture)
        .arg("-o")
        .arg(&twin)
        .arg("-c")
        .arg(&config);
    run(&mut command).expect(0);
    (capture, config, twin)
}

/// A small file system of a test's own, which only root can have.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, size: &str) -> Option<Disk> {
        fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(&at)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Disk(at))
    }

    fn grow(&self, size: &str) {
        let mut command = Command::new("mount");
        command
            .args(["-o", &format!("remount,size={size}")])
            .arg(&self.0);
        assert!(command.status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_the_run_in_order_and_it_goes_on_once_there_is_room() {
    let folder = Folder::new("full");
    let Some(disk) = Disk::mount(folder.join("disk"), "3500k") else {
        println!("skipped: no right to mount a small disk");
        return;
    };
    let (capture, config, twin) = large(&folder);
    let run = disk.0.join("run");
    let mut command = program();
    command
        .arg("replay")
        .arg(&capture)
        .arg("-o")
        .arg(&run)
        .arg("-c")
        .arg(&config);
    support::run(&mut command)
        .expect(5)
        .says(&["No space left on device", "log", "--resume"]);
    assert_eq!(manifest(&run)["state"], "running");
    // Still no room: the same error again, and nothing gets worse.
    let resume = args![String::from("replay"), String::from("--resume"), run];
    tapeline(&resume)
        .expect(5)
        .says(&["No space left on device"]);
    disk.grow("64m");
    tapeline(&resume).expect(0);
    assert!(
        digests(&run) == digests(&twin),
        "other digests than the undisturbed run"
    );
    tapeline(args![String::from("diff"), run, twin]).expect(0);
}

#[test]
fn a_limit_on_file_sizes_is_an_error_that_can_be_mended() {
    let folder = Folder::new("limit");
    let (capture, config, twin) = large(&folder);
    let run = folder.join("run");
    let mut command = Command::new("sh");
    // In units of 512 or 1,024 bytes, by the shell: below a segment in both.
    command.args([
        "-c",
        "ulimit -f 600; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_tapeline"),
    ]);
    command
        .arg("replay")
        .arg(&capture)
        .arg("-o")
        .arg(&run)
        .arg("-c")
        .arg(&config);
    support::run(&mut command)
        .expect(5)
        .says(&["File too large", "log", "--resume"]);
    tapeline(args![String::from("replay"), String::from("--resume"), run]).expect(0);
    assert!(
        digests(&run) == digests(&twin),
        "other digests than the undisturbed run"
    );
}

#[test]
fn a_stderr_that_takes_nothing_ends_no_run() {
    let folder = Folder::quick("stderr");
    let file = folder.write("s.itch", itch_file(&little_session()));
    let run = folder.join("run");
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut command = program();
    command.arg("replay").arg(&file).arg("-o").arg(&run);
    command.stderr(full).stdout(std::process::Stdio::null());
    let status = command.status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(manifest(&run)["state"], "complete");
}

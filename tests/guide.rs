//! The guide to FIX sessions does what it says: its files are written, its commands run in one shell, and
//! each must print what stands below it.
//!
//! ```text
//! UPDATE_GOLDEN=1 cargo test --test guide     # writes what they print now into the page
//! ```

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Folder, alone};

const PAGE: &str = "bus/fix/GUIDE.md";
/// Stands between what two blocks print.
const NEXT: &str = "==== next block ====";

/// A fenced block: what it is, and where its lines are.
struct Block {
    info: String,
    text: String,
}

/// The page's blocks, and what stands before, between and behind them.
fn blocks(page: &str) -> (Vec<Block>, Vec<String>) {
    let (mut blocks, mut prose) = (Vec::new(), vec![String::new()]);
    let mut open: Option<Block> = None;
    for line in page.split_inclusive('\n') {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                let info = info.trim().to_owned();
                let text = String::new();
                open = Some(Block { info, text });
            }
            (Some(_), Some(_)) => {
                blocks.extend(open.take());
                prose.push(String::new());
            }
            (Some(block), None) => block.text += line,
            (None, None) => *prose.last_mut().unwrap() += line,
        }
    }
    assert!(open.is_none(), "a block of {PAGE} has no end");
    (blocks, prose)
}

/// The address that the page speaks of.
const ADDRESS: &str = "127.0.0.1:9878";

/// One that was free just now.
fn address() -> String {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    probe.local_addr().unwrap().to_string()
}

/// What each block of commands prints, on stdout and stderr.
fn run(commands: &[&str], folder: &Path) -> Vec<String> {
    let mut script = String::from("set -eu -o pipefail\n");
    for block in commands {
        writeln!(script, "{block}\necho '{NEXT}'").unwrap();
    }
    let program = Path::new(env!("CARGO_BIN_EXE_tapeline"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let file = folder.join("guide.sh");
    fs::write(&file, script).unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", "exec bash guide.sh 2>&1"]);
    command.current_dir(folder).env("PATH", path);
    command.env("LC_ALL", "C").env("NO_COLOR", "1");
    let said = support::run(&mut command).expect(0).stdout;
    let ends = format!("{NEXT}\n");
    said.split_terminator(&ends).map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_guide_prints_what_stands_below_it() {
    let _alone = alone();
    let folder = Folder::quick("guide");
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(&place).unwrap();
    let (mut blocks, prose) = blocks(&page);
    let address = address();
    let here = |text: &str| text.replace(ADDRESS, &address);
    let mut commands = Vec::new();
    for block in &blocks {
        match block.info.split_once(' ') {
            // What takes other programs is a step of what checks a commit.
            Some(("sh", "ci")) => {
                let steps =
                    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/run"))
                        .unwrap();
                let run = |word: &&str| word.ends_with(".py");
                for script in block.text.split_whitespace().filter(run) {
                    assert!(steps.contains(script), "{script} is run by no step");
                }
            }
            Some(("ini", _)) => {}
            Some((_, file)) => {
                folder.write(file, here(&block.text));
            }
            None if block.info == "sh" => commands.push(here(&block.text)),
            None => {}
        }
    }
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let said = run(&commands, folder.path());
    assert_eq!(said.len(), commands.len());
    let mut said = said.iter();
    let mut printed = None;
    let mut checked = 0;
    for block in &mut blocks {
        match &block.info[..] {
            "sh" => printed = said.next().map(|text| text.replace(&address, ADDRESS)),
            "text" => {
                let text = printed.take().expect("a command stands above each output");
                if std::env::var_os("UPDATE_GOLDEN").is_some() {
                    block.text = text;
                } else {
                    assert_eq!(block.text, text, "{PAGE}");
                }
                checked += 1;
            }
            _ => {}
        }
    }
    assert_eq!(checked, commands.len(), "what each command prints is shown");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let mut page = String::new();
        for (index, text) in prose.iter().enumerate() {
            page += text;
            if let Some(Block { info, text }) = blocks.get(index) {
                write!(page, "```{info}\n{text}```\n").unwrap();
            }
        }
        fs::write(&place, page).unwrap();
    }
}

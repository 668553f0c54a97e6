//! What can be done about findings, as commands for people and as a script to read and run.

use super::{Remedy, Report, Step, Verdict};

/// Where sysctl settings are kept over restarts.
const SYSCTL_FILE: &str = "/etc/sysctl.d/90-tapeline.conf";

/// A command for each of some words, which stand in it as `$name`.
pub(super) fn for_each(name: &str, words: &str, command: &str) -> String {
    if words.contains(' ') {
        format!("for {name} in {words}; do {command}; done")
    } else {
        command.replace(&format!("${name}"), words)
    }
}

impl Step {
    /// As one types it, as root.
    pub fn command(&self) -> String {
        match self {
            Step::Sysctl(key, value) => format!("sysctl -w {key}={value}"),
            Step::Put(value, path) => format!("echo {value} > {path}"),
            Step::PutEach(value, cpus, file) => {
                let path = format!("/sys/devices/system/cpu/cpu$cpu/{file}");
                for_each("cpu", &cpus.words(), &format!("echo {value} > \"{path}\""))
            }
            Step::Boot(parameter) => format!("boot with {parameter}"),
            Step::Run(command, _) => command.clone(),
        }
    }

    /// How it stays.
    pub fn lasting(&self) -> String {
        match self {
            Step::Sysctl(key, value) => format!("a line `{key} = {value}` in {SYSCTL_FILE}"),
            Step::Put(..) | Step::PutEach(..) => {
                "lost at a restart: let tuning/bare-metal.sh or tuning/vm.sh run at boot".into()
            }
            Step::Boot(_) => {
                "GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub (or grubby), and restart"
                    .into()
            }
            Step::Run(_, lasting) => (*lasting).to_string(),
        }
    }

    fn write(&self, id: &str, script: &mut String) {
        let line = match self {
            Step::Sysctl(key, value) => format!("parameter {key} {}", quoted(value)),
            Step::Put(value, path) => format!("put {} {}", quoted(value), quoted(path)),
            Step::PutEach(value, cpus, file) => {
                let path = format!("/sys/devices/system/cpu/cpu$cpu/{file}");
                for_each(
                    "cpu",
                    &cpus.words(),
                    &format!("put {} \"{path}\"", quoted(value)),
                )
            }
            // Collected at the end.
            Step::Boot(parameter) => format!("boot+=('{parameter}')"),
            // Ours, with numbers and checked names in it.
            Step::Run(command, _) => format!("{{ {command}; }} || failed {id}"),
        };
        script.push_str(&line);
        script.push('\n');
    }
}

/// A word that a shell takes as it is.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_string()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A script that does what the report advises, each step under the name of its check. What cannot
/// be set from here stands in it as a comment.
pub fn script(report: &Report) -> String {
    let mut body = String::new();
    for line in &report.lines {
        if !matches!(line.found.verdict, Verdict::Fail | Verdict::Warn) {
            continue;
        }
        let (id, title) = (line.check.id, line.check.title);
        body.push_str(&format!("\n# [{id}] {title}\n"));
        comment(&mut body, &format!("Found: {}", line.found.value));
        comment(&mut body, line.check.why);
        match &line.found.remedy {
            Remedy::Nothing => {}
            Remedy::Ask(what) => comment(&mut body, &format!("Not from here: {what}.")),
            Remedy::Choose(what) => comment(&mut body, &format!("By hand: {what}.")),
            Remedy::Do(steps) => {
                for step in steps {
                    if matches!(step, Step::Run(..)) {
                        comment(&mut body, &format!("It {}.", how_long(&step.lasting())));
                    }
                    step.write(id, &mut body);
                }
            }
        }
    }
    let steps = || {
        let remedies = report.lines.iter().map(|line| &line.found.remedy);
        remedies.flat_map(|remedy| match remedy {
            Remedy::Do(steps) => steps.as_slice(),
            _ => &[],
        })
    };
    let has = |is_wanted: fn(&Step) -> bool| steps().any(is_wanted);
    let boots = has(|step| matches!(step, Step::Boot(_)));
    let parts = [
        (true, HEAD),
        (boots, "boot=()\n"),
        (steps().next().is_some(), FAILED),
        (
            has(|step| matches!(step, Step::Put(..) | Step::PutEach(..))),
            PUT,
        ),
        (has(|step| matches!(step, Step::Sysctl(..))), PARAMETER),
        (true, &body),
        (boots, BOOT),
        (steps().next().is_some(), "\nexit \"$problems\"\n"),
        (
            steps().next().is_none(),
            "\necho 'nothing can be set from here'\n",
        ),
    ];
    let wanted = parts.into_iter().filter(|(is_wanted, _)| *is_wanted);
    wanted.map(|(_, text)| text).collect()
}

fn how_long(lasting: &str) -> String {
    match lasting.strip_prefix("lost") {
        Some(rest) => format!("is lost{rest}"),
        None if lasting.starts_with("until") => format!("holds {lasting}"),
        None => lasting.to_string(),
    }
}

/// Lines of a comment, at most so wide.
fn comment(script: &mut String, text: &str) {
    const WIDTH: usize = 96;
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() > 1 && line.len() + 1 + word.len() > WIDTH {
            script.push_str(&line);
            script.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    script.push_str(&line);
    script.push('\n');
}

const HEAD: &str = r##"#!/usr/bin/env bash
# What `tapeline doctor` advises for this host. Nothing was changed yet: read it, take out what you
# do not want, and run it as root. Each part has the name of its check in brackets.
# To take it back: restart, after removing /etc/sysctl.d/90-tapeline.conf, the limits in
# /etc/security/limits.d/90-tapeline-*.conf, and the boot parameters, whichever it made.
set -u
"##;

const FAILED: &str = r##"problems=0

failed() {
    echo "did not work: $*" >&2
    problems=1
}
"##;

const PUT: &str = r##"
# Writes a value to a file of the kernel's.
put() {
    { printf '%s\n' "$1" > "$2"; } 2> /dev/null || failed "$1 to $2"
}
"##;

const PARAMETER: &str = r##"
# Sets a kernel parameter, now and for later starts.
parameter() {
    if sysctl -q -w "$1=$2"; then
        echo "$1 = $2" >> /etc/sysctl.d/90-tapeline.conf
    else
        failed "$1 = $2"
    fi
}
"##;

const BOOT: &str = r##"
# Boot parameters, all at once.
if command -v grubby > /dev/null; then
    grubby --update-kernel=ALL --args="${boot[*]}" || failed "grubby"
elif [ -d /etc/default/grub.d ] && command -v update-grub > /dev/null; then
    {
        echo "# Made by the advice of tapeline doctor."
        echo "GRUB_CMDLINE_LINUX=\"\$GRUB_CMDLINE_LINUX ${boot[*]}\""
    } > /etc/default/grub.d/90-tapeline.cfg
    update-grub || failed "update-grub"
else
    failed "no grubby and no update-grub; add to the boot parameters by hand: ${boot[*]}"
fi
echo "restart for the boot parameters to count: ${boot[*]}"
"##;

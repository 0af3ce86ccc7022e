//! The user's own scripts of the first boot: kept in the guest, run once by its own init, which then forgets about them.

use super::super::script::numbered;
use super::super::{Content, Edit, FileChange, GuestTree, TreeError, UserScript};

const ID: &str = "run";
const HOME: &str = "/var/lib/replant/firstboot";
const SERVICE: &str = "replant-firstboot";
const RUNNER: &str = include_str!("firstboot.sh");

const UNIT: &str = "\
[Unit]
Description=Scripts of the first start after the migration (replant)
Wants=network-online.target
After=network-online.target local-fs.target
ConditionPathExists=/var/lib/replant/firstboot/run

[Service]
Type=oneshot
ExecStart=/bin/sh /var/lib/replant/firstboot/run

[Install]
WantedBy=multi-user.target
";

const SCRIPT: &str = "\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          replant-firstboot
# Required-Start:    $all
# Required-Stop:
# Default-Start:     2 3 4 5
# Default-Stop:
# Short-Description: Scripts of the first start after the migration
### END INIT INFO
# chkconfig: 2345 99 01
case \"$1\" in
    start) /bin/sh /var/lib/replant/firstboot/run ;;
esac
";

const OPENRC: &str = "\
#!/sbin/openrc-run
description=\"Scripts of the first start after the migration\"
depend() { after *; }
start() { /bin/sh /var/lib/replant/firstboot/run; }
";

/// What starts the runner, by the guest's init.
enum Starter {
    Systemd,
    OpenRc,
    /// Folders of runlevels, such as `/etc/rc3.d`.
    SystemV(Vec<String>),
}

/// The files that run `scripts` at the first boot; none of it that is there already. Scripts for Windows are left out, and
/// a warning says so.
pub fn plan(tree: &GuestTree, scripts: &[UserScript]) -> Result<(Vec<FileChange>, Vec<String>), TreeError> {
    let (foreign, own): (Vec<&UserScript>, Vec<&UserScript>) =
        scripts.iter().partition(|script| script.is_for_windows());
    let warnings =
        foreign.iter().map(|script| format!("{} is for Windows, and this is a Linux: it is left out", script.name));
    let mut warnings: Vec<String> = warnings.collect();
    if own.is_empty() {
        return Ok((Vec::new(), warnings));
    }
    let starter = starter(tree)?;
    let (starting, link_to) = match &starter {
        Starter::Systemd => (
            vec![format!("/etc/systemd/system/{SERVICE}.service")],
            vec![format!("/etc/systemd/system/multi-user.target.wants/{SERVICE}.service")],
        ),
        Starter::OpenRc => (vec![format!("/etc/init.d/{SERVICE}")], vec![format!("/etc/runlevels/default/{SERVICE}")]),
        Starter::SystemV(folders) => (
            vec![format!("/etc/init.d/{SERVICE}")],
            folders.iter().map(|folder| format!("{folder}/S99{SERVICE}")).collect(),
        ),
    };
    if link_to.is_empty() {
        warnings.push("no init of the guest is known that could run the scripts of the first boot".to_owned());
        return Ok((Vec::new(), warnings));
    }
    let mut runner = RUNNER.to_owned();
    let mut changes = Vec::new();
    for (index, script) in own.iter().enumerate() {
        let name = numbered(index, script);
        runner.push_str(&format!("run {name} {}\n", script.timeout.as_secs().max(1)));
        let why = "a script of the plan, for the first boot";
        changes.extend(program(tree, &format!("{HOME}/scripts/{name}"), &script.text, why)?);
    }
    let gone: Vec<&str> = starting.iter().chain(&link_to).map(String::as_str).collect();
    runner.push_str(&format!(
        "\nif [ -z \"$failed\" ]; then tell REPLANT-GUEST-READY; else tell \"REPLANT-GUEST-FAILED ${{failed#; }}\"; fi\n\
         rm -f {}\nrm -rf \"$here\"\n[ -z \"$failed\" ]\n",
        gone.join(" ")
    ));
    let why = "runs the scripts of the plan at the first boot, says how they ended, and removes itself";
    changes.extend(program(tree, &format!("{HOME}/run"), &runner, why)?);
    let (text, to) = match starter {
        Starter::Systemd => (UNIT, format!("../{SERVICE}.service")),
        Starter::OpenRc => (OPENRC, format!("/etc/init.d/{SERVICE}")),
        Starter::SystemV(_) => (SCRIPT, format!("../init.d/{SERVICE}")),
    };
    for path in &starting {
        changes.extend(match starter {
            Starter::Systemd => plain(tree, path, text, why)?,
            _ => program(tree, path, text, why)?,
        });
    }
    // What starts everything comes last.
    for path in &link_to {
        let before = tree.link(path)?;
        if before.as_deref() != Some(&*to) {
            changes.push(FileChange::linked(ID, path, before, &to, why));
        }
    }
    Ok((changes, warnings))
}

fn starter(tree: &GuestTree) -> Result<Starter, TreeError> {
    if tree.exists("/usr/lib/systemd/systemd")? || tree.exists("/lib/systemd/systemd")? {
        return Ok(Starter::Systemd);
    }
    if tree.exists("/sbin/openrc-run")? || tree.exists("/sbin/openrc")? {
        return Ok(Starter::OpenRc);
    }
    let mut folders = Vec::new();
    // The same folders under other names are links to each other; one of them is enough.
    for base in ["/etc", "/etc/rc.d", "/etc/init.d"] {
        for level in ["2", "3", "4", "5"] {
            let folder = format!("{base}/rc{level}.d");
            if !tree.list(&folder)?.is_empty() {
                folders.push(folder);
            }
        }
        if !folders.is_empty() {
            break;
        }
    }
    Ok(Starter::SystemV(folders))
}

fn plain(tree: &GuestTree, path: &str, text: &str, why: &str) -> Result<Option<FileChange>, TreeError> {
    let before = tree.read(path)?;
    Ok((before.as_deref() != Some(text.as_bytes())).then(|| FileChange::whole(ID, path, before.as_deref(), text, why)))
}

fn program(tree: &GuestTree, path: &str, text: &str, why: &str) -> Result<Option<FileChange>, TreeError> {
    Ok(plain(tree, path, text, why)?.map(|change| FileChange {
        content: Content::Program(text.as_bytes().to_vec()),
        edits: change.edits.into_iter().map(|edit| Edit { id: ID.to_owned(), ..edit }).collect(),
        ..change
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Duration;

    use super::*;

    fn script(name: &str, text: &str) -> UserScript {
        UserScript { name: name.into(), text: text.into(), timeout: Duration::from_secs(60) }
    }

    fn apply(tree: &GuestTree, changes: &[FileChange]) {
        for change in changes {
            tree.write(change).unwrap();
        }
    }

    #[test]
    fn systemd_starts_them_once_and_nothing_is_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        std::fs::create_dir_all(folder.path().join("usr/lib/systemd")).unwrap();
        std::fs::write(folder.path().join("usr/lib/systemd/systemd"), "").unwrap();
        let scripts = [script("a.sh", "#!/bin/sh\ntrue\n"), script("b.ps1", "exit 0")];
        let (changes, warnings) = plan(&tree, &scripts).unwrap();
        assert!(warnings[0].contains("b.ps1 is for Windows"), "{warnings:?}");
        apply(&tree, &changes);
        let mode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("var/lib/replant/firstboot/scripts/01-a.sh"), 0o755);
        assert_eq!(mode("etc/systemd/system/replant-firstboot.service"), 0o644);
        let link = tree.link("/etc/systemd/system/multi-user.target.wants/replant-firstboot.service").unwrap();
        assert_eq!(link.as_deref(), Some("../replant-firstboot.service"));
        assert_eq!(plan(&tree, &scripts).unwrap().0, []);
        assert_eq!(plan(&tree, &[]).unwrap(), (vec![], vec![]));
    }

    #[test]
    fn other_inits_start_them_too() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        let scripts = [script("a", "#!/bin/sh\n")];
        assert!(plan(&tree, &scripts).unwrap().1[0].contains("no init"), "an unknown init is told");
        for level in ["rc3.d", "rc5.d"] {
            std::fs::create_dir_all(folder.path().join("etc/rc.d").join(level)).unwrap();
            symlink("../init.d/x", folder.path().join("etc/rc.d").join(level).join("S10x")).unwrap();
        }
        apply(&tree, &plan(&tree, &scripts).unwrap().0);
        let link = tree.link("/etc/rc.d/rc5.d/S99replant-firstboot").unwrap();
        assert_eq!(link.as_deref(), Some("../init.d/replant-firstboot"));
        assert_eq!(plan(&tree, &scripts).unwrap().0, []);
        std::fs::create_dir_all(folder.path().join("sbin")).unwrap();
        std::fs::write(folder.path().join("sbin/openrc"), "").unwrap();
        let (changes, _) = plan(&tree, &scripts).unwrap();
        assert!(changes.iter().any(|change| change.path == "/etc/runlevels/default/replant-firstboot"), "{changes:?}");
    }

    /// The runner itself, with its paths moved into a folder of ours.
    #[test]
    fn the_runner_runs_each_script_says_how_it_ended_and_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        std::fs::create_dir_all(folder.path().join("lib/systemd")).unwrap();
        std::fs::write(folder.path().join("lib/systemd/systemd"), "").unwrap();
        std::fs::create_dir_all(folder.path().join("var/log")).unwrap();
        let scripts = [
            script("ok.sh", "#!/bin/sh\necho I ran\n"),
            script("bad.sh", "#!/bin/sh\nexit 3\n"),
            script("last.sh", "#!/bin/sh\necho so did I\n"),
        ];
        apply(&tree, &plan(&tree, &scripts).unwrap().0);
        let at = folder.path().join("var/lib/replant/firstboot/run");
        let root = folder.path().display().to_string();
        let text = std::fs::read_to_string(&at).unwrap();
        let text = text.replace("/var/", &format!("{root}/var/")).replace("/etc/", &format!("{root}/etc/"));
        let text = text.replace("/dev/ttyS0 /dev/console", &format!("{root}/console"));
        let output = std::process::Command::new("sh").args(["-c", &text]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).unwrap();
        let verdict = "REPLANT-GUEST-FAILED 02-bad.sh ended with 3";
        assert_eq!(read("console").trim(), verdict);
        assert_eq!(read("var/lib/replant/verdict.txt").trim(), verdict);
        let log = read("var/log/replant-firstboot.log");
        assert!(log.contains("I ran") && log.contains("so did I"), "{log}");
        for gone in ["var/lib/replant/firstboot", "etc/systemd/system/replant-firstboot.service"] {
            assert!(!folder.path().join(gone).exists(), "{gone}");
        }
        let wants = folder.path().join("etc/systemd/system/multi-user.target.wants");
        assert_eq!(std::fs::read_dir(wants).unwrap().count(), 0);
    }
}

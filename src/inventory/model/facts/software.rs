//! What is installed. Arguments of commands are never collected: people put passwords there.

use crate::inventory::model::Fact;
use crate::inventory::model::section::section;
use crate::inventory::model::value::words;
use crate::units::ByteCount;

words! {
    /// When a service or driver starts.
    StartMode {
        /// By the boot loader.
        Boot = "boot",
        /// With the kernel.
        System = "system",
        /// By itself.
        Automatic = "automatic",
        /// When it is asked for.
        Manual = "manual",
        /// Never.
        Disabled = "disabled",
    }
}

section! {
    /// A service.
    Service as "service" by (name) {
        /// Its name.
        name / "name": Option<Fact<String>>,
        /// Its name for people.
        title / "title": Option<Fact<String>>,
        /// When it starts.
        start / "start": Option<Fact<StartMode>>,
        /// Whether it runs.
        running / "running": Option<Fact<bool>>,
        /// Its program, without arguments.
        program / "program": Option<Fact<String>>,
    }
}

section! {
    /// A driver or kernel module.
    Driver as "driver" by (name) {
        /// Its name.
        name / "name": Option<Fact<String>>,
        /// Its name for people.
        title / "title": Option<Fact<String>>,
        /// When it starts.
        start / "start": Option<Fact<StartMode>>,
        /// Whether it is loaded.
        running / "running": Option<Fact<bool>>,
        /// Its file.
        program / "program": Option<Fact<String>>,
        /// Its version.
        version / "version": Option<Fact<String>>,
    }
}

section! {
    /// A program that starts by itself.
    AutoRun as "auto_run" by (name) {
        /// Its name.
        name / "name": Option<Fact<String>>,
        /// Its program, without arguments.
        program / "program": Option<Fact<String>>,
        /// What starts it: a registry key, a folder, a table of jobs.
        place / "place": Option<Fact<String>>,
    }
}

section! {
    /// An update that is installed.
    Update as "update" by (id) {
        /// Its number, such as `KB5031364`.
        id / "id": Option<Fact<String>>,
        /// What it is.
        title / "title": Option<Fact<String>>,
        /// When it was installed, as the system says it.
        installed / "installed": Option<Fact<String>>,
    }
}

section! {
    /// An application or package that is installed.
    Application as "application" by (name) {
        /// Its name.
        name / "name": Option<Fact<String>>,
        /// Its version.
        version / "version": Option<Fact<String>>,
        /// Who made it.
        vendor / "vendor": Option<Fact<String>>,
    }
}

section! {
    /// A file that the system needs.
    SystemFile as "file" by (path) {
        /// Its path.
        path / "path": Option<Fact<String>>,
        /// Whether it is there.
        present / "present": Option<Fact<bool>>,
        /// Its size.
        size / "size": Option<Fact<ByteCount>>,
        /// Its version.
        version / "version": Option<Fact<String>>,
    }
}

section! {
    /// What is installed.
    Software as "software" by () {
        /// Services.
        services / "service": Vec<Service>,
        /// Drivers.
        drivers / "driver": Vec<Driver>,
        /// Programs that start by themselves.
        auto_runs / "auto_run": Vec<AutoRun>,
        /// Updates.
        updates / "update": Vec<Update>,
        /// Applications.
        applications / "application": Vec<Application>,
        /// Files that the system needs.
        files / "file": Vec<SystemFile>,
    }
}

//! Every source format gives the content of the disk it was made from; every exported one holds it.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use replant::image::{Control, ImageError, ImageFormat, Subformat, export, look, open_source, source_identity};

use super::site::{MIB, Site, chain, disk, exit, noise, qemu_img, same_content, sparse, stderr, text, tool};

/// 24 MiB with text, noise, written zeros and holes; its last sector holds data.
const SIZE: u64 = 24 * MIB + 512;

fn source(path: &Path) {
    sparse(
        path,
        SIZE,
        &[
            (0, b"boot sector"),
            (3 * MIB + 1536, &text(1, 2 * MIB)),
            (9 * MIB, &vec![0; MIB as usize]),
            (11 * MIB, &noise(1, 2 * MIB)),
            (SIZE - 512, &noise(2, 512)),
        ],
    );
}

/// A site with the source, and a copy of it that `qemu-img convert` made.
fn converted(file: &str, driver: &str, options: &str) -> Site {
    let site = Site::new();
    source(&site.path("source"));
    let (from, to) = (site.path("source"), site.path(file));
    let mut args = vec!["convert", "-f", "raw", "-O", driver];
    if !options.is_empty() {
        args.extend(["-o", options]);
    }
    args.extend([from.to_str().unwrap(), to.to_str().unwrap()]);
    qemu_img(&args);
    site
}

fn assert_captured(site: &Site, file: &str, format: ImageFormat) {
    let report = site.capture(&disk("m"), file, format).unwrap_or_else(|error| panic!("{file}: {}", chain(&error)));
    assert_eq!(report.size, SIZE, "{file}");
    // All of a fixed VHDX is there by its own table.
    let all = format == ImageFormat::Vhdx && std::fs::metadata(site.path(file)).unwrap().len() > SIZE;
    assert!(all || report.read < 12 * MIB, "{file}: {} bytes were read of 5 MiB that are allocated", report.read);
    let restored = site.restored(&disk("m"), SIZE).unwrap();
    assert!(same_content(&site.path("source"), &restored), "{file}");
}

#[test]
fn every_format_gives_the_content_it_was_made_of() {
    let cases = [
        ("a.qcow2", "qcow2", "compat=0.10", ImageFormat::Qcow2),
        ("a.qcow2", "qcow2", "extended_l2=on,cluster_size=128k", ImageFormat::Qcow2),
        ("a.vmdk", "vmdk", "subformat=monolithicSparse", ImageFormat::Vmdk),
        ("a.vmdk", "vmdk", "subformat=monolithicFlat", ImageFormat::Vmdk),
        ("a.vmdk", "vmdk", "subformat=twoGbMaxExtentSparse", ImageFormat::Vmdk),
        ("a.vmdk", "vmdk", "subformat=twoGbMaxExtentFlat", ImageFormat::Vmdk),
        ("a.vmdk", "vmdk", "subformat=streamOptimized", ImageFormat::Vmdk),
        ("a.vhd", "vpc", "subformat=dynamic,force_size=on", ImageFormat::Vhd),
        ("a.vhd", "vpc", "subformat=fixed,force_size=on", ImageFormat::Vhd),
        ("a.vhdx", "vhdx", "subformat=dynamic,block_size=1M", ImageFormat::Vhdx),
        ("a.vhdx", "vhdx", "subformat=fixed", ImageFormat::Vhdx),
    ];
    for (file, driver, options, format) in cases {
        let site = converted(file, driver, options);
        assert_eq!(look(&site.path(file), None).unwrap().format, format, "{options}");
        assert_captured(&site, file, format);
    }
}

#[test]
fn compressed_clusters_are_read() {
    for kind in ["zlib", "zstd"] {
        let site = Site::new();
        source(&site.path("source"));
        let (from, to) = (site.path("source"), site.path("a.qcow2"));
        let kind = format!("compression_type={kind}");
        qemu_img(&["convert", "-c", "-O", "qcow2", "-o", &kind, from.to_str().unwrap(), to.to_str().unwrap()]);
        assert_captured(&site, "a.qcow2", ImageFormat::Qcow2);
    }
}

#[test]
fn a_chain_is_read_as_one_disk_and_every_file_of_it_belongs_to_its_identity() {
    let site = Site::new();
    source(&site.path("source"));
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    qemu_img(&["convert", "-O", "vmdk", &path("source"), &path("base.vmdk")]);
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", "base.vmdk", "-F", "vmdk", &path("middle.qcow2")]);
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", &path("top.qcow2")]);
    let top = site.path("top.qcow2");
    assert_eq!(look(&top, None).unwrap().files, [&*top, &site.path("middle.qcow2"), &site.path("base.vmdk")]);
    assert_captured(&site, "top.qcow2", ImageFormat::Qcow2);

    let before = source_identity(&top, ImageFormat::Qcow2).unwrap();
    assert!(before.contains(" others="), "{before}");
    let base = std::fs::read(site.path("base.vmdk")).unwrap();
    std::fs::write(site.path("base.vmdk"), base).unwrap();
    assert_ne!(source_identity(&top, ImageFormat::Qcow2).unwrap(), before, "the lowest file was written");
}

/// An appliance of two disks, as tools write it: description first, then stream-optimised disks.
fn appliance(site: &Site, names: &[&str]) -> PathBuf {
    let mut members = vec!["box.ovf".to_owned()];
    let (mut files, mut disks) = (String::new(), String::new());
    for (number, name) in names.iter().enumerate() {
        let raw = site.path(&format!("raw{number}"));
        match number {
            0 => source(&raw),
            _ => sparse(&raw, 8 * MIB, &[(MIB, &text(number as u64, MIB))]),
        }
        let out = site.path(name);
        let raw = raw.to_str().unwrap();
        qemu_img(&["convert", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, out.to_str().unwrap()]);
        files.push_str(&format!("<File ovf:id=\"file{number}\" ovf:href=\"{name}\"/>"));
        disks.push_str(&format!("<Disk ovf:diskId=\"disk{number}\" ovf:fileRef=\"file{number}\" ovf:capacity=\"1\"/>"));
        members.push((*name).to_owned());
    }
    let description = format!(
        "<?xml version=\"1.0\"?><Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" \
         xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\"><References>{files}</References>\
         <DiskSection><Info>disks</Info>{disks}<Disk ovf:diskId=\"empty\" ovf:capacity=\"9\"/></DiskSection></Envelope>"
    );
    std::fs::write(site.path("box.ovf"), description).unwrap();
    let archive = site.path("box.ova");
    let folder = archive.parent().unwrap().to_str().unwrap();
    let mut args = vec!["--format=ustar", "-C", folder, "-cf", archive.to_str().unwrap()];
    args.extend(members.iter().map(String::as_str));
    assert!(tool("tar", "tar", &args).status.success());
    archive
}

#[test]
fn each_disk_of_an_appliance_is_a_source() {
    let site = Site::new();
    let archive = appliance(&site, &["disk1.vmdk", "disk2.vmdk"]);
    let error = look(&archive, None).unwrap_err();
    let help = error.help();
    assert!(error.to_string().contains("holds 2 disks"), "{error}");
    assert!(help.contains("`disk1.vmdk`, `disk2.vmdk`"), "{help}");
    for (number, size) in [(0, SIZE), (1, 8 * MIB)] {
        let name = format!("box.ova/disk{}.vmdk", number + 1);
        let report = site.capture(&disk(&name), &name, ImageFormat::Ova).unwrap();
        assert_eq!(report.size, size);
        let restored = site.restored(&disk(&name), size).unwrap();
        assert!(same_content(&site.path(&format!("raw{number}")), &restored), "{name}");
    }
    let none = look(&archive.join("disk3.vmdk"), None).unwrap_err();
    assert!(none.to_string().contains("holds no disk `disk3.vmdk`"), "{none}");
}

#[test]
fn an_appliance_of_one_disk_needs_no_name() {
    let site = Site::new();
    appliance(&site, &["only.vmdk"]);
    std::fs::copy(site.path("raw0"), site.path("source")).unwrap();
    assert_captured(&site, "box.ova", ImageFormat::Ova);
}

fn exported(site: &Site, file: &str, format: ImageFormat, form: Subformat) -> Result<(), ImageError> {
    let (stop, tick) = (AtomicBool::new(false), |_| ());
    let path = site.path(file);
    export(&site.store(), &disk("m"), None, &path, (format, form), &Control::new(&stop, &tick)).map(drop)
}

#[test]
fn every_export_holds_the_disk() {
    let site = Site::new();
    source(&site.path("source"));
    site.capture(&disk("m"), "source", ImageFormat::Raw).unwrap();
    let cases = [
        ("out.raw", "raw", ImageFormat::Raw, Subformat::Default),
        ("out.qcow2", "qcow2", ImageFormat::Qcow2, Subformat::Default),
        ("out.vmdk", "vmdk", ImageFormat::Vmdk, Subformat::Default),
        ("stream.vmdk", "vmdk", ImageFormat::Vmdk, Subformat::Stream),
        ("out.vhd", "vpc", ImageFormat::Vhd, Subformat::Default),
        ("fixed.vhd", "vpc", ImageFormat::Vhd, Subformat::Fixed),
        ("out.vhdx", "vhdx", ImageFormat::Vhdx, Subformat::Default),
        ("fixed.vhdx", "vhdx", ImageFormat::Vhdx, Subformat::Fixed),
    ];
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    for (file, driver, format, form) in cases {
        exported(&site, file, format, form).unwrap_or_else(|error| panic!("{file}: {}", chain(&error)));
        qemu_img(&["compare", "-f", "raw", "-F", driver, &path("source"), &path(file)]);
        let info = qemu_img(&["info", "-f", driver, "--output=json", &path(file)]);
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        assert_eq!(info["virtual-size"], SIZE, "{file}");
        if form != Subformat::Fixed {
            let taken = std::fs::metadata(site.path(file)).unwrap();
            let taken = std::os::unix::fs::MetadataExt::blocks(&taken) * 512;
            assert!(taken < 12 * MIB, "{file} takes {taken} bytes: holes became data");
        }
        // What we wrote we also read.
        assert_eq!(open_source(&site.path(file), format).unwrap().size(), SIZE, "{file}");
    }
    let error = exported(&site, "x.vmdk", ImageFormat::Vmdk, Subformat::Fixed).unwrap_err();
    assert!(chain(&error).contains("a vmdk disk has no such form"), "{}", chain(&error));
    let error = exported(&site, "x.ova", ImageFormat::Ova, Subformat::Default).unwrap_err();
    assert!(chain(&error).contains("ova is only read"), "{}", chain(&error));
    assert!(!site.path("x.ova").exists());
}

#[test]
fn a_disk_of_any_written_format_is_deployed_to() {
    let site = Site::new();
    source(&site.path("source"));
    site.capture(&disk("m"), "source", ImageFormat::Raw).unwrap();
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let cases = [
        ("t.vmdk", "vmdk", ImageFormat::Vmdk),
        ("t.vhd", "vpc", ImageFormat::Vhd),
        ("t.vhdx", "vhdx", ImageFormat::Vhdx),
    ];
    for (file, driver, format) in cases {
        // An old disk with other content, larger than the image.
        sparse(&site.path("old"), 28 * MIB, &[(0, &noise(7, 2 * MIB)), (26 * MIB, &noise(8, MIB))]);
        qemu_img(&["convert", "-O", driver, &path("old"), &path(file)]);
        site.deploy(&disk("m"), file, format).unwrap_or_else(|error| panic!("{file}: {}", chain(&error)));
        qemu_img(&["compare", "-f", "raw", "-F", driver, &path("source"), &path(file)]);

        // Cut off, a deploy into these formats begins anew.
        let _ = std::fs::remove_file(site.path(&format!("{file}.deployed")));
        std::fs::write(site.path("marker"), "").unwrap();
        let stop = AtomicBool::new(false);
        let tick = |_| stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let request = site.deploy_request(&disk("m"), file, format);
        let stopped = replant::image::deploy(&site.store(), &request, &Control::new(&stop, &tick)).unwrap_err();
        assert!(stopped.is_stop(), "{}", chain(&stopped));
        site.deploy(&disk("m"), file, format).unwrap();
        qemu_img(&["compare", "-f", "raw", "-F", driver, &path("source"), &path(file)]);
    }
}

#[test]
fn headers_that_are_damaged_or_cannot_be_followed_say_so() {
    let site = Site::new();
    sparse(&site.path("raw"), 8 * MIB, &[(0, b"boot")]);
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let make = |driver: &str, options: &str, name: &str| {
        qemu_img(&["convert", "-f", "raw", "-O", driver, "-o", options, &path("raw"), &path(name)]);
    };
    let patch = |name: &str, at: u64, bytes: &[u8]| {
        let file = std::fs::OpenOptions::new().write(true).open(site.path(name)).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, at).unwrap();
    };
    make("vpc", "subformat=dynamic", "sum.vhd");
    let end = std::fs::metadata(site.path("sum.vhd")).unwrap().len();
    patch("sum.vhd", end - 512 + 48, &[0xff]);
    make("vhdx", "subformat=dynamic", "regions.vhdx");
    patch("regions.vhdx", 192 << 10, &[0; 4]);
    patch("regions.vhdx", 256 << 10, &[0; 4]);
    make("vmdk", "subformat=monolithicSparse", "version.vmdk");
    patch("version.vmdk", 4, &[9]);
    make("vmdk", "subformat=twoGbMaxExtentSparse", "split.vmdk");
    make("vmdk", "subformat=monolithicFlat", "lost.vmdk");
    std::fs::remove_file(site.path("lost-flat.vmdk")).unwrap();
    std::fs::write(site.path("words.vmdk"), "# Disk DescriptorFile\nRW many FLAT \"x\" 0\n").unwrap();
    std::fs::write(site.path("far.vmdk"), "# Disk DescriptorFile\nRW 100 FLAT \"nbd://evil/x\" 0\n").unwrap();
    make("qcow2", "compat=1.1", "far.qcow2");
    qemu_img(&["rebase", "-u", "-F", "raw", "-b", "json:{\"driver\":\"null-co\"}", &path("far.qcow2")]);
    make("qcow2", "compat=1.1", "ring.qcow2");
    qemu_img(&["rebase", "-u", "-F", "qcow2", "-b", "ring.qcow2", &path("ring.qcow2")]);
    std::fs::write(site.path("cut.vhdx"), b"vhdxfile").unwrap();
    std::fs::write(site.path("empty.ova"), {
        let mut tar = vec![0; 2048];
        tar[..5].copy_from_slice(b"a.ovf");
        tar[257..262].copy_from_slice(b"ustar");
        tar
    })
    .unwrap();

    let cases = [
        ("sum.vhd", "checksum does not fit", "copy it again"),
        ("regions.vhdx", "no region table", "copy it again"),
        ("version.vmdk", "is of version 9", "copy it again"),
        ("split-s001.vmdk", "one part of a disk", "name the descriptor"),
        ("lost.vmdk", "lost-flat.vmdk", ""),
        ("words.vmdk", "no size in its descriptor: `RW many FLAT", "copy it again"),
        ("far.vmdk", "names `nbd://evil/x`, which is no plain path", "qemu-img convert"),
        ("far.qcow2", "no plain path", "qemu-img convert"),
        ("ring.qcow2", "comes twice", "backing-chain"),
        ("cut.vhdx", "no region table", "copy it again"),
        ("empty.ova", "no sound tar archive", "copy it again"),
    ];
    for (name, says, way_out) in cases {
        let error = look(&site.path(name), None).unwrap_err();
        assert!(error.to_string().contains(says), "{name}: {error}");
        assert!(error.help().contains(way_out), "{name}: {}", error.help());
    }
}

#[test]
fn a_format_that_the_file_has_not_is_refused_before_anything_is_read() {
    let site = converted("a.qcow2", "qcow2", "");
    for format in [ImageFormat::Raw, ImageFormat::Vmdk] {
        let error = chain(&site.capture(&disk("m"), "a.qcow2", format).unwrap_err());
        assert!(error.contains(&format!("is declared as {format}, but it is qcow2")), "{error}");
    }
    let site = converted("a.vhd", "vpc", "subformat=fixed");
    let error = chain(&site.capture(&disk("m"), "a.vhd", ImageFormat::Raw).unwrap_err());
    assert!(error.contains("is declared as raw, but it is vhd"), "{error}");
}

#[test]
fn a_source_is_never_written_and_its_daemon_goes() {
    let site = converted("a.vhdx", "vhdx", "block_size=1M");
    let before = (
        std::fs::read(site.path("a.vhdx")).unwrap(),
        std::fs::metadata(site.path("a.vhdx")).unwrap().modified().unwrap(),
    );
    let opened = open_source(&site.path("a.vhdx"), ImageFormat::Vhdx).unwrap();
    let modes = open_modes(&site.path("a.vhdx"));
    assert_eq!(modes, ["r"], "the daemon has the source open, for reading only");
    drop(opened);
    assert_eq!(open_modes(&site.path("a.vhdx")), [""; 0], "the daemon is gone");
    assert_captured(&site, "a.vhdx", ImageFormat::Vhdx);
    let after = (
        std::fs::read(site.path("a.vhdx")).unwrap(),
        std::fs::metadata(site.path("a.vhdx")).unwrap().modified().unwrap(),
    );
    assert!(before == after);
}

/// How processes have a file open: `r`, or `w` where it could be written.
fn open_modes(path: &Path) -> Vec<&'static str> {
    let mut modes = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        for file in files.map_while(Result::ok) {
            if std::fs::read_link(file.path()).is_ok_and(|target| target == path) {
                let info = process.path().join("fdinfo").join(file.file_name());
                let flags = std::fs::read_to_string(info).unwrap_or_default();
                let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
                let flags = u32::from_str_radix(flags.unwrap_or("0"), 8).unwrap();
                modes.push(if flags & 3 == 0 { "r" } else { "w" });
            }
        }
    }
    modes
}

#[test]
fn the_verbs_take_every_format() {
    let site = converted("a.vmdk", "vmdk", "subformat=streamOptimized");
    let source = site.path("a.vmdk");
    let captured = site.run(&[
        "image",
        "capture",
        "--store",
        "store",
        "--machine",
        "m",
        "--disk",
        "disk0",
        "--format",
        "vmdk",
        "--source",
        source.to_str().unwrap(),
    ]);
    assert_eq!(exit(&captured), 0, "{}", stderr(&captured));
    let out = site
        .run(&["image", "export", "--store", "store", "m/disk0", "out.vmdk", "--format", "vmdk", "--form", "stream"]);
    assert_eq!(exit(&out), 0, "{}", stderr(&out));
    qemu_img(&["compare", source.to_str().unwrap(), site.path("out.vmdk").to_str().unwrap()]);
    let wrong = site.run(&["image", "export", "--store", "store", "m/disk0", "out", "--format", "vdi"]);
    assert!(stderr(&wrong).contains("raw, qcow2, vmdk, ova, vhd, vhdx"), "{}", stderr(&wrong));
}

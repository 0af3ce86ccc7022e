//! No input makes an importer panic.

use camino::Utf8PathBuf;
use proptest::prelude::*;
use replant::inventory::document::{from_json, from_xml};
use replant::inventory::import::{FileKind, Observer, import};
use replant::inventory::performance::{Recorder, RecordingKind, Settings, record_reader};

const SEEDS: [&str; 9] = [
    include_str!("fixtures/web01.vmx"),
    include_str!("fixtures/appliance.ovf"),
    include_str!("fixtures/tool.ovf"),
    super::disk::INSPECTION,
    super::disk::DEVICE,
    "<domain type='kvm'><name>db</name><memory unit='MiB'>512</memory><vcpu>1</vcpu><devices><disk><target dev='vda'/></disk><interface><mac address='52:54:00:00:00:01'/></interface></devices></domain>",
    "VM,CPUs,Memory,Powerstate\nweb01,2,4096,poweredOn\n",
    "replant-linux-inventory 1\n= hostname\n| a\n= block\n| sda\t100\t0\t1\t512\t\t\t\t\t\t\t\n| +sda1\tsda\t1\t2048\t99\n= net\n| eth0\t52:54:00:00:00:01\t1\t1000\tup\t\t0x8086\t0x100e\te1000\t\n= end\n",
    "{\"format\":\"replant-windows-inventory\",\"version\":1,\"system\":[{\"Name\":\"a\"}],\"disks\":[{\"Index\":0,\"Size\":18446744073709551615}]}",
];

fn mutated(seed: impl Into<Vec<u8>>, edits: &[(usize, u8, bool)]) -> Vec<u8> {
    let mut bytes: Vec<u8> = seed.into();
    for (at, byte, insert) in edits {
        let at = at % (bytes.len() + 1);
        match *insert || at == bytes.len() {
            true => bytes.insert(at, *byte),
            false => bytes[at] = *byte,
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn importers_never_panic(seed in 0..SEEDS.len(), edits in proptest::collection::vec((any::<usize>(), any::<u8>(), any::<bool>()), 0..12)) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().join("tabvInfo.csv")).unwrap();
        let bytes = mutated(SEEDS[seed], &edits);
        std::fs::write(&path, &bytes).unwrap();
        let observer = Observer { by: "test".into(), name: None };
        for (_, kind) in FileKind::ALL {
            drop(import(std::slice::from_ref(&path), Some(kind), &observer));
        }
        drop(import(&[path], None, &observer));
        let text = String::from_utf8_lossy(&bytes);
        drop(from_xml(&text));
        drop(from_json(&text));
    }

    #[test]
    fn workbooks_never_panic(edits in proptest::collection::vec((any::<usize>(), any::<u8>(), any::<bool>()), 1..6)) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().join("export.xlsx")).unwrap();
        std::fs::write(&path, mutated(super::import::workbook(3), &edits)).unwrap();
        drop(import(&[path], Some(FileKind::Rvtools), &Observer { by: "test".into(), name: None }));
    }

    #[test]
    fn recordings_never_panic(kind in 0..RecordingKind::ALL.len(), edits in proptest::collection::vec((any::<usize>(), any::<u8>(), any::<bool>()), 0..12)) {
        let seeds = [
            "machine,time,cpu_percent,memory_bytes\nweb,1790000000,12.5,100\nweb,1790000060,99,200\n",
            "# hostname;interval;timestamp;CPU;%user;%idle\nh;60;2026-11-22 20:10:55 UTC;-1;3;97\n",
            "\"(PDH-CSV 4.0) (UTC)(0)\",\"\\\\W\\Processor(_Total)\\% Processor Time\"\n\"11/22/2026 20:10:55.1\",\"5\"\n",
            "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":{\"__name__\":\"cpu_percent\",\"instance\":\"a\"},\"values\":[[1,\"2\"]]}]}}",
            "\"Entity\",\"MetricId\",\"Timestamp\",\"Value\"\n\"a\",\"cpu.usage.average\",\"2026-11-22T20:10:55Z\",\"9\"\n",
        ];
        let bytes = mutated(seeds[kind], &edits);
        let mut recorder = Recorder::new(900);
        drop(record_reader("x", RecordingKind::ALL[kind].1, bytes.as_slice(), &Settings::default(), &mut recorder));
        drop(recorder.facts(None));
    }
}

//! Recorded samples.

use std::process::Command;

use replant::inventory::document::{from_xml, plain_facts};
use serde_json::Value;

use super::document::assert_valid;
use crate::common::{TestSite, require_tool};

#[track_caller]
fn utilisation(site: &TestSite, machine: &str) -> Value {
    let xml = site.read(&format!("facts/{machine}.xml"));
    assert_valid(&xml);
    plain_facts(&from_xml(&xml).expect("a document").facts)["utilisation"].clone()
}

#[test]
fn a_plain_table_of_two_machines() {
    let site = TestSite::new();
    let mut table = "machine,time,cpu_percent,memory_bytes,disk_operations_per_second\n".to_owned();
    for minute in 0..60 * 24 * 8 {
        let cpu = if (600..640).contains(&minute) { "42.5" } else { "7" };
        table += &format!("web01,{},{cpu},{},100\n", 1_790_000_000 + minute * 60, 1 << 30);
        table +=
            &format!("web02,{},3,{},\n", 1_790_000_000 + minute * 60, if minute == 77 { 3_u64 << 30 } else { 1 << 30 });
    }
    site.write("samples.csv", table);
    let finished = site.replant(&["inventory", "performance", "samples.csv"]).expect(0);
    assert!(finished.stdout.contains("cpu 42.50% sustained"), "{}", finished.stdout);
    let web01 = utilisation(&site, "web01");
    assert_eq!((&web01["cpu"], &web01["memory_peak"]), (&42.5.into(), &"sustained".into()));
    assert_eq!(web01["disk"]["operations"]["p95"], 100);
    assert_eq!(utilisation(&site, "web02")["memory_peak"], "spike");
    site.write(
        "plan.yaml",
        "replant: 1\nname: p\nhosts: { h: { provider: qemu, capacity: { memory: 64GiB } } }\nmachines:\n  - { name: web01, source: { disks: [{ path: a.raw }] }, inventory: { document: facts/web01.xml, cpus: 2, utilisation: { frequency: 2000MHz } }, target: { host: h } }\n",
    );
    let report = site.replant(&["assess", "plan.yaml", "--explain", "web01"]).expect(0);
    assert!(report.stdout.contains("cpu-demand = 1700 MHz"), "2 x 2000 MHz x 42.5 %: {}", report.stdout);
    assert!(report.stdout.contains("facts/web01.xml:"), "{}", report.stdout);
    assert!(report.stderr.contains("was observed for 191h"), "eight days are short of two weeks: {}", report.stderr);
}

#[test]
fn what_sysstat_records_on_this_machine() {
    require_tool("sadf", "sysstat");
    let site = TestSite::new();
    let sadc =
        ["/usr/lib/sysstat/sadc", "/usr/lib64/sa/sadc"].into_iter().find(|path| std::path::Path::new(path).exists());
    let sadc = sadc.expect("sadc of Debian's `sysstat`");
    let record = Command::new(sadc).args(["-S", "ALL", "1", "4", "record.sa"]).current_dir(site.path()).status();
    assert!(record.is_ok_and(|status| status.success()), "sadc records");
    for (option, file) in [("-d", "record.csv"), ("-j", "record.json")] {
        let output = Command::new("sadf")
            .args([option, "record.sa", "--", "-u", "-r", "-n", "DEV", "-d"])
            .env("LC_ALL", "C")
            .current_dir(site.path())
            .output()
            .expect("sadf runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        site.write(file, &output.stdout);
        site.replant(&["inventory", "performance", file, "--machine", option.trim_start_matches('-')]).expect(0);
    }
    let (table, json) = (utilisation(&site, "d"), utilisation(&site, "j"));
    assert!(table["memory"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{table}");
    assert_eq!(table["memory"], json["memory"], "both forms say the same");
    assert_eq!(table["cpu"], json["cpu"]);
    assert_eq!(table["samples"], json["samples"]);
}

#[test]
fn a_log_of_the_performance_monitor() {
    let site = TestSite::new();
    site.write("facts/web01.xml", "<machine xmlns=\"https://replant.invalid/schema/inventory-1\" version=\"1\" name=\"web01\" from=\"o1\"><observation id=\"o1\" how=\"declared\" by=\"me\"/><system><memory>4294967296</memory></system></machine>");
    let mut log = r#""(PDH-CSV 4.0) (W. Europe Standard Time)(-60)","\\WEB01\Processor(_Total)\% Processor Time","\\WEB01\Memory\Available MBytes","\\WEB01\Network Interface(Intel)\Bytes Total/sec""#.to_owned();
    for minute in 0..40 {
        log += &format!(
            "\n\"11/22/2026 20:{minute:02}:55.123\",\"{}\",\"{}\",\"1500.7\"",
            if minute == 0 { " " } else { "12.25" },
            1024 - minute
        );
    }
    site.write("log.csv", log);
    site.replant(&["inventory", "performance", "log.csv"]).expect(0);
    let used = utilisation(&site, "web01");
    assert_eq!(used["cpu"], 12.25);
    assert_eq!(used["memory"], (4_u64 << 30) - (985 << 20));
    assert_eq!(used["nics"][0]["peak"], 1501 * 8);
    assert_eq!(used["from_time"], "2026-11-22T19:00:55Z");
}

#[test]
fn exports_of_prometheus_and_vsphere() {
    let site = TestSite::new();
    let values: Vec<String> = (0..30).map(|at| format!("[{},\"{}\"]", 1_790_000_000 + at * 60, 10 + at)).collect();
    let range = format!(
        "{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{{\"metric\":{{\"instance\":\"web01.example.org:9100\"}},\"values\":[{}]}}]}}}}",
        values.join(",")
    );
    site.write("cpu.json", range);
    let refused = site.replant(&["inventory", "performance", "cpu.json"]).expect(3).stderr;
    assert!(refused.contains("--metric"), "{refused}");
    site.replant(&["inventory", "performance", "cpu.json", "--metric", "cpu_percent"]).expect(0);
    assert_eq!(utilisation(&site, "web01")["cpu"], 32.0, "the mean of 25 to 39");
    let mut stat = "\"Entity\",\"MetricId\",\"Timestamp\",\"Value\",\"Instance\"\n".to_owned();
    for minute in 0..30 {
        stat += &format!("\"web02\",\"cpu.usage.average\",\"2026-11-22T20:{minute:02}:00Z\",\"9.5\",\"\"\n");
        stat += &format!("\"web02\",\"mem.consumed.average\",\"2026-11-22T20:{minute:02}:00Z\",\"1048576\",\"\"\n");
    }
    site.write("stat.csv", stat);
    site.replant(&["inventory", "performance", "stat.csv"]).expect(0);
    let used = utilisation(&site, "web02");
    assert_eq!((&used["cpu"], &used["memory"]), (&9.5.into(), &(1_u64 << 30).into()));
}

#[test]
fn recordings_that_are_wrong_name_place_value_and_way_out() {
    let table: [(&str, &str, &[&str]); 6] = [
        ("a.csv", "machine,time,cpu_percent\nweb,100,12\nweb,90,x\n", &["a.csv:3:", "`cpu_percent` cannot be `x`"]),
        (
            "b.csv",
            "machine,time,cpu_percent\nweb,100,12\nweb,90,1\n",
            &["b.csv:3:", "time goes back from 100 to 90", "sort"],
        ),
        ("c.csv", "machine,time,nothing\nweb,100,12\n", &["c.csv:1:", "cpu_percent"]),
        (
            "d.csv",
            "# hostname;interval;timestamp;CPU;%idle\nh;60;yesterday;-1;3\n",
            &["d.csv:2:", "`yesterday` is no time"],
        ),
        (
            "e.csv",
            "\"(PDH-CSV 4.0) (UTC)(0)\",\"\\\\W\\Memory\\Available Bytes\"\n\"11/22/2026 20:10:55.1\",\"5\"\n",
            &["how much `w` has is not known"],
        ),
        ("f.json", "{\"status\":\"error\",\"data\":{}}", &["`data.resultType`", "query_range"]),
    ];
    for (name, content, parts) in table {
        let site = TestSite::new();
        site.write(name, content);
        let stderr = site.replant(&["inventory", "performance", name]).expect(3).stderr;
        for part in parts {
            assert!(stderr.contains(part), "{name}: no `{part}` in {stderr}");
        }
    }
}

//! The verb, as people run it.

use crate::common::TestSite;

/// The classic example: four workloads on one host of two cores of 3000 MHz, by the constants of Virtual Server 2005.
const CLASSIC: &str = r#"replant: 1
name: classic
store: { path: store, encryption: none }
hosts:
  vs01:
    provider: qemu
    sizing: { vm_overhead: 32MiB, vm_memory_limit: 3600MiB, vm_cpus: 1 }
    capacity:
      memory: 16GiB
      cores: 2
      frequency: 3000MHz
      storage: 600GiB
      nics: [{ speed: 1Gbps, role: host }, { speed: 1Gbps }]
defaults:
  target: { host: vs01, cpus: 1 }
machines:
"#;

fn workload(name: &str, more: &str) -> String {
    format!(
        "  - name: {name}
    source: {{ disks: [{name}.raw] }}
    workload: {{ role: test }}
    inventory:
      cpus: 2
      utilisation:
        observed: 14d
        memory: 3GiB
        frequency: 2000MHz
        cpu: 10%
        network: [{{ speed: 100Mbps, peak: 50% }}]
        disk: {{ size: 100GiB, used: 40GiB{more} }}
"
    )
    .replace(&format!("[{name}.raw]"), &format!("[{{ path: {name}.raw }}]"))
}

fn classic(names: &[&str]) -> String {
    names.iter().fold(CLASSIC.to_owned(), |plan, name| plan + &workload(name, ""))
}

#[test]
fn the_worked_examples_come_out_of_a_plan() {
    let site = TestSite::new();
    site.write("plan.yaml", classic(&["app1", "app2", "app3", "app4"]));
    let finished = site.replant(&["assess", "plan.yaml", "--json"]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let machine = &report["machines"][0];
    assert_eq!(machine["memory_cost"]["text"], "3104 MiB", "3 GiB and 32 MiB");
    assert_eq!(machine["cpu_demand"]["text"], "400 MHz");
    assert_eq!(machine["cpu"]["reserved_of_one_core"]["text"], "14%");
    assert_eq!(machine["network"]["text"], "50 Mb/s");
    let host = &report["hosts"][0];
    assert_eq!(host["cpu"]["capacity"]["text"], "4500 MHz");
    assert_eq!(host["cpu"]["after"]["text"], "1680 MHz", "four times 14 % of 3000 MHz");
    assert_eq!(host["network"]["capacity"]["text"], "750 Mb/s");
    assert_eq!(host["network"]["after"]["text"], "200 Mb/s");
    assert_eq!(host["memory"]["before"]["value"], 0);
    assert_eq!(host["required_memory"]["text"], "18 GiB", "(1 GiB + 4 x 3104 MiB) x 1.25 = 16.4 GiB, an even number");
    assert_eq!(report["diagnostics"][0]["code"], "assess.host-memory");
}

#[test]
fn an_explanation_names_formula_inputs_and_lines() {
    let site = TestSite::new();
    site.write("plan.yaml", classic(&["app1"]));
    let finished = site.replant(&["assess", "plan.yaml", "--explain", "app1"]).expect(0);
    insta::assert_snapshot!(finished.stdout);
    let finished = site.replant(&["assess", "plan.yaml", "--explain", "ap1"]).expect(2);
    assert!(finished.stderr.contains("did you mean `app1`?"), "{}", finished.stderr);
}

#[test]
fn the_report_fits_a_hundred_columns() {
    let site = TestSite::new();
    let long = "a-machine-with-a-rather-long-name-that-nobody-wants-to-read";
    site.write("plan.yaml", classic(&["app1", long]));
    let finished = site.replant(&["assess", "plan.yaml", "--place"]).expect(0);
    for line in finished.stdout.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    insta::assert_snapshot!(finished.stdout);
}

#[test]
fn a_spreadsheet_gets_plain_numbers() {
    let site = TestSite::new();
    site.write("plan.yaml", classic(&["app1"]));
    let machines = site.replant(&["assess", "plan.yaml", "--csv"]).expect(0).stdout;
    let row = "app1,vs01,3221225472,3254779904,400000000,14,420000000,50000000,138244259840";
    assert_eq!(machines.lines().nth(1), Some(row));
    let hosts = site.replant(&["assess", "plan.yaml", "--csv=hosts"]).expect(0).stdout;
    let columns: Vec<usize> = hosts.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [15, 15]);
    assert!(hosts.contains("vs01,1,6442450944,16106127360,0,3254779904,4500000000,0,420000000"), "{hosts}");
}

/// Runs a plan that must be refused, by a rule of that code.
#[track_caller]
fn refused(plan: &str, code: &str) -> String {
    let site = TestSite::new();
    site.write("plan.yaml", plan);
    let stderr = site.replant(&["assess", "plan.yaml"]).expect(3).stderr;
    assert!(stderr.contains(code), "{stderr}");
    stderr
}

#[test]
fn memory_that_is_not_there_refuses_the_plan() {
    let plan = classic(&["app1", "app2", "app3"]).replace("memory: 16GiB", "memory: 8GiB");
    let stderr = refused(&plan, "assess.start");
    assert!(stderr.contains("1 of 3 machines cannot start on `vs01`"), "{stderr}");
}

#[test]
fn reservations_beyond_the_processors_refuse_the_plan() {
    let plan = classic(&["app1", "app2"]).replace("cpu: 10%", "cpu: 80%");
    let stderr = refused(&plan, "assess.over-allocation");
    assert!(stderr.contains("6420 MHz are reserved, 4500 MHz are available"), "{stderr}");
}

#[test]
fn used_bytes_that_do_not_fit_refuse_the_plan_and_sizes_alone_do_not() {
    let plan = classic(&["app1", "app2"]).replace("storage: 600GiB", "storage: 79GiB");
    refused(&plan, "assess.disk-full");
    let site = TestSite::new();
    site.write("plan.yaml", plan.replace("storage: 79GiB", "storage: 80GiB"));
    let finished = site.replant(&["assess", "plan.yaml"]).expect(0);
    assert!(finished.stderr.contains("can grow to 200 GiB, there is room for 80 GiB"), "{}", finished.stderr);
    let fixed = plan
        .replace("storage: 79GiB", "storage: 80GiB")
        .replace("vs01, cpus: 1 }", "vs01, cpus: 1, disks: { allocation: fixed } }");
    refused(&fixed, "assess.disk-full");
}

#[test]
fn a_lasting_peak_above_the_limit_refuses_and_a_spike_is_reviewed() {
    let plan = classic(&["app1"]).replace("memory: 3GiB", "memory: 4GiB\n        memory_peak: sustained");
    refused(&plan, "assess.memory-limit");
    let site = TestSite::new();
    site.write("plan.yaml", plan.replace("sustained", "spike"));
    let finished = site.replant(&["assess", "plan.yaml"]).expect(0);
    assert!(finished.stderr.contains("review it"), "{}", finished.stderr);
}

#[test]
fn several_processors_in_production_are_refused_where_a_vm_has_one() {
    let plan = classic(&["app1"]).replace(", cpus: 1 }", " }");
    let site = TestSite::new();
    site.write("plan.yaml", &plan);
    site.replant(&["assess", "plan.yaml"]).expect(0);
    refused(&plan.replace("role: test", "role: production"), "assess.processors");
}

#[test]
fn short_observations_and_missing_host_adapters_are_warned_of() {
    let site = TestSite::new();
    let plan =
        classic(&["app1"]).replace("observed: 14d", "observed: 3d").replace("{ speed: 1Gbps, role: host }, ", "");
    site.write("plan.yaml", plan);
    let stderr = site.replant(&["assess", "plan.yaml"]).expect(0).stderr;
    assert!(stderr.contains("assess.window") && stderr.contains("assess.host-adapter"), "{stderr}");
}

#[test]
fn a_proposal_moves_machines_and_says_why_one_has_no_place() {
    let site = TestSite::new();
    let second = "  vs02:\n    provider: qemu\n    sizing: { vm_overhead: 32MiB }\n    capacity: { memory: 5GiB, cores: 2, frequency: 3000MHz }\ndefaults:";
    let plan = classic(&["app1", "app2"]).replace("memory: 16GiB", "memory: 5GiB").replace("defaults:", second);
    site.write("plan.yaml", &plan);
    let finished = site.replant(&["assess", "plan.yaml", "--place"]).expect(3);
    assert!(finished.stdout.contains("2 of 2 machines on 2 of 2 hosts; at least 2 are needed"), "{}", finished.stdout);
    site.write("plan.yaml", plan + &workload("app3", ""));
    let finished = site.replant(&["assess", "plan.yaml", "--place"]).expect(3);
    assert!(finished.stdout.contains("no place for app3: no host has room left"), "{}", finished.stdout);
    assert!(
        finished.stdout.contains("vs01: short of memory (3104 MiB needed, 992 MiB free) alone"),
        "{}",
        finished.stdout
    );
}

#[test]
fn a_plan_that_says_nothing_is_sized_by_its_memory_alone() {
    let site = TestSite::new();
    let plan = "replant: 1\nname: bare\nhosts: { local: { provider: qemu, memory: 8GiB } }\nmachines:\n  - { name: a, source: { disks: [{ path: a.raw }] }, inventory: { memory: 1GiB }, target: { host: local } }\n";
    site.write("plan.yaml", plan);
    let finished = site.replant(&["assess", "plan.yaml"]).expect(0);
    assert!(finished.stderr.contains("assess.unmeasured"), "{}", finished.stderr);
    insta::assert_snapshot!(finished.stdout);
}

#[test]
fn amounts_of_the_wrong_form_are_reported_by_the_plan_reader() {
    let site = TestSite::new();
    site.write(
        "plan.yaml",
        classic(&["app1"]).replace("frequency: 2000MHz", "frequency: 2000").replace("cpu: 10%", "cpu: 110%"),
    );
    let stderr = site.replant(&["assess", "plan.yaml"]).expect(3).stderr;
    assert!(stderr.contains("must be a frequency such as `2000MHz`"), "{stderr}");
    assert!(stderr.contains("must be from 0% to 100%"), "{stderr}");
}

#[test]
fn waves_are_placed_in_their_order_unless_asked_otherwise() {
    let site = TestSite::new();
    // Together they fill two hosts to the brim; wave by wave the large one finds its host in use.
    let host = |name: &str| {
        format!(
            "  {name}:\n    provider: qemu\n    sizing: {{ vm_overhead: 0MiB }}\n    capacity: {{ memory: 11GiB }}\n"
        )
    };
    let machine = |name: &str, memory: u64| {
        format!(
            "  - {{ name: {name}, source: {{ disks: [{{ path: {name}.raw }}] }}, inventory: {{ memory: {memory}GiB }}, target: {{ host: vs01 }} }}\n"
        )
    };
    let plan = format!(
        "replant: 1\nname: turns\nhosts:\n{}{}machines:\n{}{}{}waves:\n  - {{ name: pilot, machines: [a, b] }}\n",
        host("vs01"),
        host("vs02"),
        machine("a", 4),
        machine("b", 4),
        machine("c", 7),
    );
    site.write("plan.yaml", &plan);
    let text = site.replant(&["assess", "plan.yaml", "--place"]).expect(3).stdout;
    assert!(text.contains("3 of 3 machines on 2 of 2 hosts; at least 2 are needed"), "{text}");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["pilot", "2", "2", "1"]), "{text}");
    assert!(rows.contains(&vec!["(in", "no", "wave)", "1", "1", "2"]), "{text}");
    assert!(text.contains("as proposed:"), "{text}");
    let report = site.replant(&["assess", "plan.yaml", "--place", "--json"]).expect(3).stdout;
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["placement"]["waves"][0]["name"], "pilot");
    assert_eq!(report["placement"]["waves"][1]["hosts_used"], 2);
    let once = site.replant(&["assess", "plan.yaml", "--place", "--no-waves"]).expect(3).stdout;
    assert!(!once.contains("WAVE"), "{once}");
}

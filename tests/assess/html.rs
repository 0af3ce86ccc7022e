//! The page for browsers: what it holds, that it stands alone, that no name becomes markup.

use crate::common::TestSite;

const PLAN: &str = r#"replant: 1
name: utrecht
hosts:
  vs01:
    provider: qemu
    capacity:
      memory: 8GiB
      cores: 4
      frequency: 3000MHz
      storage: 600GiB
      nics: [{ speed: 1Gbps, role: host }, { speed: 1Gbps }]
      in_use: { memory: 2GiB, storage: 100GiB }
  vs02: { provider: qemu, capacity: { memory: 16GiB, cores: 4, frequency: 3000MHz } }
machines:
  - name: web01
    source: { disks: [{ path: web01.raw }] }
    inventory: { document: facts/web01.xml, cpus: 2, utilisation: { frequency: 2000MHz, disk: { size: 100GiB, used: 40GiB } } }
    target: { host: vs01 }
  - name: db01
    source: { disks: [{ path: db01.raw }] }
    inventory: { memory: 6GiB, cpus: 2, facts: { devices: [{ kind: dongle, name: NAME }] } }
    target: { host: vs01 }
waves:
  - { name: first, machines: [web01] }
rules:
  silence: [{ id: device-dongle, machines: [db01], reason: NAME }]
"#;

/// A site with eight days of samples of web01: busy for 40 minutes once, and a gap of two days.
fn site(name: &str) -> TestSite {
    let site = TestSite::new();
    let mut table =
        "machine,time,cpu_percent,memory_bytes,network_bytes_per_second,disk_operations_per_second\n".to_owned();
    for minute in (0..60 * 24 * 8).filter(|minute| !(4000..6880).contains(minute)) {
        let cpu = if (600..640).contains(&minute) { "42.5" } else { "7" };
        let memory = if minute == 9000 { 3_u64 << 30 } else { (1 << 30) + (minute % 1440) * 500_000 };
        table += &format!(
            "web01,{},{cpu},{memory},{},{}\n",
            1_790_000_000 + minute * 60,
            2000 * (minute % 600),
            minute % 90
        );
    }
    site.write("samples.csv", table);
    site.replant(&["inventory", "performance", "samples.csv"]).expect(0);
    let quoted = serde_json::to_string(name).expect("a text");
    site.write("plan.yaml", PLAN.replace("NAME", &quoted));
    site
}

/// Elements without an end.
const VOID: [&str; 2] = ["meta", "br"];

/// Every element ends where it should; the names of all elements.
#[track_caller]
fn elements(page: &str) -> Vec<String> {
    let (mut open, mut all): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let (start, rest) = page.split_once("<style>").expect("a style sheet");
    let (_, end) = rest.split_once("</style>").expect("its end");
    let text = format!("{start}{end}");
    let (declaration, text) = text.split_once('\n').expect("lines");
    assert_eq!(declaration, "<!DOCTYPE html>");
    for tag in text.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("a bare `<` before {tag}"));
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "`{tag}` ends the wrong element");
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default().to_owned();
        all.push(name.clone());
        if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    all
}

#[test]
fn the_page_stands_alone_and_holds_the_whole_assessment() {
    let site = site("branch office");
    let page = site.replant(&["assess", "plan.yaml", "--format", "html"]).expect(3).stdout;
    let names = elements(&page);
    for program in ["script", "link", "img", "iframe", "object"] {
        assert!(!names.iter().any(|name| name == program), "the page loads something: `{program}`");
    }
    assert!(
        !page.contains("http:") && !page.contains("https:") && !page.contains("url("),
        "the page names other files"
    );
    assert_eq!(names.iter().filter(|name| *name == "svg").count(), 3 + 4 + 4 + 8 + 4, "legends, bars, curves");
    for part in [
        "utrecht: assessment",
        "Refused: 1 error.",
        "chosen: 42.50% for 15 min, until 09-22 00:27",
        "chosen: 3 GiB, the peak of 09-27 20:13",
        "2 GiB → 11.2 GiB of 7 GiB, 159 %",
        "processors x clock rate x highest sustained use x performance factor",
        "cpu-demand",
        "1700 MHz",
        "facts/web01.xml:",
        "plan.yaml:",
        "assess.start",
        "silenced: `device-dongle` for 1 (db01): branch office",
        "Not checked, for want of a fact",
        "@media print",
        "prefers-color-scheme: dark",
    ] {
        assert!(page.contains(part), "no `{part}` in {page}");
    }
    // Two days are missing: the curve is drawn in two pieces.
    let area = page.split("class=\"area\" d=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a curve");
    assert_eq!(area.matches('Z').count(), 2, "{area}");
    let again = site.replant(&["assess", "plan.yaml", "--format", "html"]).expect(3).stdout;
    assert_eq!(page, again, "the same plan gives the same page");
}

#[test]
fn a_proposal_is_drawn_beside_the_plan() {
    let site = site("x");
    let page =
        site.replant(&["assess", "plan.yaml", "--format", "html", "--place", "--headroom", "5%"]).expect(3).stdout;
    elements(&page);
    for part in [
        "2 of 2 machines on 1 of 2 hosts, 5% of each kept free",
        "as planned:",
        "as proposed: 2 GiB → 2 GiB of 7 GiB, 28 %",
        "hosts in use after it",
        "<td>first</td>",
        "(in no wave)",
        "<td>db01</td><td>vs01</td><td>vs02</td>",
    ] {
        assert!(page.contains(part), "no `{part}` in {page}");
    }
}

#[test]
fn no_name_becomes_markup() {
    let hostile = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\" onload=\"x' {{plan}} &amp; \u{202e}";
    let site = site(hostile);
    let page = site.replant(&["assess", "plan.yaml", "--format", "html"]).expect(3).stdout;
    let names = elements(&page);
    assert!(!names.iter().any(|name| name == "script" || name == "img"), "{names:?}");
    assert!(page.contains("&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    assert!(page.contains("{{plan}} &amp;amp;"), "a value is no template either");
    assert!(!page.contains("\" onload=\""), "no value ends an attribute");
}

#[test]
fn every_format_says_the_same() {
    let site = site("x");
    let json = site.replant(&["assess", "plan.yaml", "--format", "json"]).expect(3);
    assert_eq!(json.stdout, site.replant(&["assess", "plan.yaml", "--json"]).expect(3).stdout);
    let report: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(report["machines"][0]["cpu_demand"]["text"], "1700 MHz");
    let table = site.replant(&["assess", "plan.yaml", "--format", "csv"]).expect(3).stdout;
    assert!(table.contains(",1700000000,"), "{table}");
    let text = site.replant(&["assess", "plan.yaml", "--format", "text"]).expect(3).stdout;
    assert!(text.contains("1700 MHz"), "{text}");
}

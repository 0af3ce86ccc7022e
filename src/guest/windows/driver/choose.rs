//! The package that serves a device of a Windows best.

use super::super::{Architecture, Generation};
use super::{DriverPackage, Model};

/// A package and the models of it that serve the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<'p> {
    /// The package.
    pub package: &'p DriverPackage,
    /// Its models for the device, one for each identifier.
    pub models: Vec<&'p Model>,
}

/// The best package for a device with these identifiers, on this Windows. The order: made for this generation (by the
/// folder that its collection keeps it in), for the newest version that is not too new, then the latest driver.
pub fn choose<'p>(
    packages: &'p [DriverPackage],
    ids: &[String],
    generation: Generation,
    architecture: Architecture,
    build: u32,
) -> Option<Choice<'p>> {
    let (major, minor) = generation.kernel();
    let mut found = Vec::new();
    for package in packages {
        let Some(folder) = folder_rank(&package.origin, generation) else { continue };
        let mut models: Vec<&Model> = package
            .models
            .iter()
            .filter(|model| model.architecture == architecture && model.since <= (major, minor, build))
            .filter(|model| ids.iter().any(|id| serves(&model.hardware_id, id)))
            .collect();
        let Some(since) = models.iter().map(|model| model.since).max() else { continue };
        models.retain(|model| model.since == since);
        let rank = (usize::MAX - folder, since, version(&package.version));
        found.push((rank, package.inf_name.clone(), Choice { package, models }));
    }
    found.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    found.pop().map(|(_, _, choice)| choice)
}

/// Whether a driver for `model` serves a device `id`: they are equal, or the model is less specific.
fn serves(model: &str, id: &str) -> bool {
    let id = id.to_uppercase();
    id == model || id.strip_prefix(model).is_some_and(|rest| rest.starts_with('&'))
}

/// How well the folder of a collection fits: 0 is best; `None` is for another generation.
fn folder_rank(origin: &str, generation: Generation) -> Option<usize> {
    let is = |part: &str, name: &&str| part.eq_ignore_ascii_case(name);
    let own = generation.driver_folders();
    let all: Vec<&str> = Generation::ALL.iter().flat_map(|generation| generation.driver_folders()).copied().collect();
    for part in origin.split('/') {
        if let Some(rank) = own.iter().position(|name| is(part, name)) {
            return Some(rank);
        }
        if all.iter().any(|name| is(part, name)) {
            return None;
        }
    }
    Some(own.len())
}

/// `03/12/2024,100.95.104.26200` as something that sorts.
fn version(text: &str) -> (Vec<u32>, Vec<u32>) {
    let (date, version) = text.split_once(',').unwrap_or((text, ""));
    let numbers =
        |text: &str, at: char| text.split(at).map(|part| part.trim().parse().unwrap_or(0)).collect::<Vec<u32>>();
    let mut date = numbers(date, '/');
    // Month, day, year: the year decides first.
    if let Some(year) = date.pop() {
        date.insert(0, year);
    }
    (date, numbers(version, '.'))
}

#[cfg(test)]
mod tests {
    use super::super::inf::tests::STORAGE;
    use super::super::package::tests::program;
    use super::*;

    fn package(folder: &std::path::Path, origin: &str, target: &str, date: &str) -> DriverPackage {
        let folder = folder.join(origin.replace('/', "-"));
        std::fs::create_dir_all(&folder).unwrap();
        let text = STORAGE.replace("NTamd64.10.0...17763", target).replace("03/12/2024", date);
        std::fs::write(folder.join("viostor.inf"), text).unwrap();
        std::fs::write(folder.join("viostor.sys"), program()).unwrap();
        std::fs::write(folder.join("viostor.cat"), "x").unwrap();
        DriverPackage::open(&folder.join("viostor.inf"), origin).unwrap()
    }

    #[test]
    fn a_collection_gives_each_generation_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let packages = [
            package(folder.path(), "viostor/2k8R2/amd64", "NTamd64.6.1", "01/02/2020"),
            package(folder.path(), "viostor/2k19/amd64", "NTamd64.10.0", "03/12/2024"),
            package(folder.path(), "viostor/2k25/amd64", "NTamd64.10.0", "05/12/2024"),
        ];
        let ids = ["PCI\\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00".to_owned()];
        let of = |generation: Generation, architecture, build| {
            choose(&packages, &ids, generation, architecture, build).map(|choice| choice.package.origin.clone())
        };
        let amd64 = Architecture::Amd64;
        assert_eq!(of(Generation::Server2008R2, amd64, 7601).as_deref(), Some("viostor/2k8R2/amd64"));
        assert_eq!(of(Generation::Server2019, amd64, 17763).as_deref(), Some("viostor/2k19/amd64"));
        assert_eq!(of(Generation::Server2022, amd64, 20348).as_deref(), Some("viostor/2k19/amd64"));
        assert_eq!(of(Generation::Server2025, amd64, 26100).as_deref(), Some("viostor/2k25/amd64"));
        assert_eq!(of(Generation::Server2012, amd64, 9200), None);
        assert_eq!(of(Generation::Server2019, Architecture::X86, 17763), None);
        let other = ["PCI\\VEN_15AD&DEV_07C0".to_owned()];
        assert_eq!(choose(&packages, &other, Generation::Server2019, amd64, 17763), None);
    }

    #[test]
    fn a_loose_folder_serves_what_its_inf_says_the_latest_first() {
        let folder = tempfile::tempdir().unwrap();
        let packages = [
            package(folder.path(), "old", "NTamd64.6.1", "12/31/2019"),
            package(folder.path(), "new", "NTamd64.6.1", "01/01/2024"),
            package(folder.path(), "too-new", "NTamd64.10.0...20348", "01/01/2025"),
        ];
        let ids = ["pci\\ven_1af4&dev_1042&subsys_11001af4&rev_01".to_owned()];
        let choice = choose(&packages, &ids, Generation::Server2019, Architecture::Amd64, 17763).unwrap();
        assert_eq!(choice.package.origin, "new");
    }
}

//! What rules can call beyond the operators of CEL. All are pure, and linear in what they read.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use cel::common::types::{self, CelBool, CelInt, CelList, CelString};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};

use crate::address::glob_matches;
use crate::units::ByteCount;

type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// Functions of the language itself that rules may call; operators are named `_+_` and the like.
const STANDARD: [&str; 13] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "string",
    "int",
    "double",
    "has",
    "in",
    "exists",
    "filter",
    "map",
    "all",
];

/// Our own, with what they do, for the documentation.
pub const OWN: [(&str, &str); 10] = [
    ("amount(n)", "bytes as people read them: `4 GiB`"),
    ("gib(n)", "bytes in whole GiB, rounded up"),
    ("upper(text)", "in capitals"),
    ("lower(text)", "in small letters"),
    ("shown(text)", "with control characters made visible"),
    ("join(list)", "texts of a list, with commas"),
    ("like(text, glob)", "whether it fits a pattern with `*` and `?`; capitals do not matter"),
    ("like_any(text, list)", "whether it fits one of several patterns"),
    ("has_any(text, characters)", "whether it has one of the characters, or a control character"),
    ("in_subnet(address, subnet)", "whether an IP address lies in a subnet such as `10.0.0.0/24`"),
];

/// Whether a rule may call it.
pub(super) fn is_known(name: &str) -> bool {
    name.starts_with(['_', '@', '!', '-'])
        || STANDARD.contains(&name)
        || OWN.iter().any(|(signature, _)| signature.split('(').next() == Some(name))
}

/// The environment of every evaluation.
pub(super) fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(build()));
    &ENVIRONMENT
}

fn build() -> Env {
    let mut env = Env::stdlib();
    let mut add = |name: &str, arguments: Vec<types::Type>, function: cel::common::functions::Function| {
        let id = format!("replant_{name}");
        env.add_overload(name, &id, arguments, function).expect("each function is declared once");
    };
    add("amount", vec![types::INT_TYPE], |a| Ok(owned(ByteCount(whole(&a[0])).to_string())));
    add("gib", vec![types::INT_TYPE], |a| Ok(owned(whole(&a[0]).div_ceil(1 << 30).to_string())));
    add("upper", vec![types::STRING_TYPE], |a| Ok(owned(of(&a[0]).to_uppercase())));
    add("lower", vec![types::STRING_TYPE], |a| Ok(owned(of(&a[0]).to_lowercase())));
    add("shown", vec![types::STRING_TYPE], |a| Ok(owned(of(&a[0]).escape_debug().to_string())));
    add("join", vec![types::LIST_TYPE], |a| Ok(owned(items(&a[0]).join(", "))));
    add("like", vec![types::STRING_TYPE, types::STRING_TYPE], |a| Ok(truth(like(of(&a[0]), of(&a[1])))));
    add("like_any", vec![types::STRING_TYPE, types::LIST_TYPE], |a| {
        Ok(truth(items(&a[1]).iter().any(|glob| like(of(&a[0]), glob))))
    });
    add("has_any", vec![types::STRING_TYPE, types::STRING_TYPE], |a| {
        let forbidden = of(&a[1]);
        Ok(truth(of(&a[0]).chars().any(|c| c.is_control() || forbidden.contains(c))))
    });
    add("in_subnet", vec![types::STRING_TYPE, types::STRING_TYPE], |a| -> Outcome<'_, '_> {
        in_subnet(of(&a[0]), of(&a[1]))
            .map(truth)
            .map_err(|message| ExecutionError::FunctionError { function: "in_subnet".to_owned(), message })
    });
    env
}

fn owned<'b, 'v>(text: String) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(text))
}

fn truth<'b, 'v>(truth: bool) -> CowVal<'b, 'v> {
    CowVal::owned(CelBool::from(truth))
}

fn of<'a>(value: &'a CowVal<'_, '_>) -> &'a str {
    value.downcast_ref::<CelString<'_>>().map(CelString::inner).unwrap_or_default()
}

fn whole(value: &CowVal<'_, '_>) -> u64 {
    value.downcast_ref::<CelInt>().map(|n| u64::try_from(*n.inner()).unwrap_or_default()).unwrap_or_default()
}

fn items(value: &CowVal<'_, '_>) -> Vec<String> {
    let Some(list) = value.downcast_ref::<CelList<'_>>() else { return Vec::new() };
    let text = |item: &dyn Val| item.downcast_ref::<CelString<'_>>().map(|text| text.inner().to_owned());
    list.inner().iter().filter_map(|item| text(item.as_ref())).collect()
}

fn like(text: &str, glob: &str) -> bool {
    glob_matches(&glob.to_lowercase(), &text.to_lowercase())
}

fn in_subnet(address: &str, subnet: &str) -> Result<bool, String> {
    let wrong = |what: &str| format!("`{what}` is not an address such as `10.0.0.5` or a subnet such as `10.0.0.0/24`");
    let (base, bits) = subnet.split_once('/').ok_or_else(|| wrong(subnet))?;
    let base: IpAddr = base.parse().map_err(|_| wrong(subnet))?;
    let bits: u32 = bits.parse().map_err(|_| wrong(subnet))?;
    let plain = address.split('/').next().unwrap_or_default();
    let address: IpAddr = plain.parse().map_err(|_| wrong(address))?;
    let of = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let ((base, width), (address, same)) = (of(base), of(address));
    if bits > width {
        return Err(wrong(subnet));
    }
    let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
    Ok(width == same && (base & mask) == (address & mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_in_subnets() {
        for (address, subnet, inside) in [
            ("10.0.0.5", "10.0.0.0/24", true),
            ("10.0.1.5/24", "10.0.0.0/24", false),
            ("10.0.1.5", "0.0.0.0/0", true),
            ("fd00::5", "fd00::/64", true),
            ("fd01::5", "fd00::/64", false),
            ("10.0.0.5", "fd00::/64", false),
        ] {
            assert_eq!(in_subnet(address, subnet), Ok(inside), "{address} {subnet}");
        }
        assert!(in_subnet("10.0.0.5", "10.0.0.0/33").is_err() && in_subnet("x", "10.0.0.0/8").is_err());
    }
}

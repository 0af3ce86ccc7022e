//! What a fact can be: each kind of value with its one spelling in XML and JSON.

use jiff::Timestamp;

use crate::hardware::Firmware;
use crate::units::{ByteCount, ByteRate, Frequency, Percent};

/// The spelling of a kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text.
    Text,
    /// A whole number from 0.
    Whole,
    /// `true` or `false`.
    Flag,
    /// A whole number of bytes.
    Bytes,
    /// A whole number of hertz.
    Hertz,
    /// A whole number of bits per second.
    BitsPerSecond,
    /// A percentage with at most two decimals, without the sign.
    Percent,
    /// A point in time: `2026-11-22T20:10:55Z`.
    Time,
    /// One of a few words.
    Choice(&'static [(&'static str, &'static str)]),
}

impl Form {
    /// What is wanted, with the article.
    pub fn describe(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Whole => "a whole number".to_owned(),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Bytes => "a whole number of bytes".to_owned(),
            Self::Hertz => "a whole number of hertz".to_owned(),
            Self::BitsPerSecond => "a whole number of bits per second".to_owned(),
            Self::Percent => "a percentage such as `12.5`".to_owned(),
            Self::Time => "a time such as `2026-11-22T20:10:55Z`".to_owned(),
            Self::Choice(words) => {
                let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
                format!("one of {}", words.join(", "))
            }
        }
    }
}

/// A value that a fact can have.
pub trait Word: Clone + PartialEq + std::fmt::Debug {
    /// How it is spelled.
    const FORM: Form;
    /// Reads its spelling; `None` if it is not one.
    fn read(text: &str) -> Option<Self>;
    /// Its spelling.
    fn write(&self) -> String;
}

impl Word for String {
    const FORM: Form = Form::Text;
    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
    fn write(&self) -> String {
        self.clone()
    }
}

impl Word for bool {
    const FORM: Form = Form::Flag;
    fn read(text: &str) -> Option<Self> {
        match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }
    fn write(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole {
    ($type:ty, $form:ident, $from:expr, $to:expr) => {
        impl Word for $type {
            const FORM: Form = Form::$form;
            fn read(text: &str) -> Option<Self> {
                text.parse().ok().map($from)
            }
            fn write(&self) -> String {
                let to: fn(&$type) -> u64 = $to;
                to(self).to_string()
            }
        }
    };
}

whole!(u64, Whole, |number: u64| number, |number| *number);
whole!(u32, Whole, |number: u32| number, |number| u64::from(*number));
whole!(ByteCount, Bytes, ByteCount, |bytes| bytes.0);
whole!(Frequency, Hertz, Frequency, |hertz| hertz.0);
whole!(ByteRate, BitsPerSecond, |bits: u64| ByteRate(bits / 8), |rate| rate.0.saturating_mul(8));

impl Word for Percent {
    const FORM: Form = Form::Percent;
    fn read(text: &str) -> Option<Self> {
        Percent::parse(&format!("{text}%")).ok()
    }
    fn write(&self) -> String {
        self.to_string().trim_end_matches('%').to_owned()
    }
}

impl Word for Timestamp {
    const FORM: Form = Form::Time;
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn write(&self) -> String {
        self.to_string()
    }
}

/// A closed set of words, each with what it means.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $meaning:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl $crate::inventory::model::Word for $name {
            const FORM: $crate::inventory::model::Form =
                $crate::inventory::model::Form::Choice(&[$(($word, concat!($($meaning),+).trim_ascii_start())),+]);
            fn read(text: &str) -> Option<Self> {
                match text {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
            fn write(&self) -> String {
                match self {
                    $(Self::$variant => $word,)+
                }
                .to_owned()
            }
        }
    };
}
pub(super) use words;

impl Word for Firmware {
    const FORM: Form = Form::Choice(&[("bios", "Legacy BIOS."), ("uefi", "UEFI.")]);
    fn read(text: &str) -> Option<Self> {
        match text {
            "bios" => Some(Self::Bios),
            "uefi" => Some(Self::Uefi),
            _ => None,
        }
    }
    fn write(&self) -> String {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        }
        .to_owned()
    }
}

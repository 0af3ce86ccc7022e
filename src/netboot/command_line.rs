//! [`CommandLine`]: words that no boot loader, shell or kernel reads in another way than we do.

use std::fmt;
use std::str::FromStr;

/// The kernel command line of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine(Vec<String>);

/// A word that could be read in another way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{character:?} cannot stand in a kernel command line: words are made of letters, digits and `@%+=:,./-_`")]
pub struct UnsafeWord {
    /// The character.
    pub character: char,
}

impl CommandLine {
    /// Longest line that a kernel takes.
    pub const MAX: usize = 2047;

    /// Its words.
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for CommandLine {
    type Err = UnsafeWord;

    fn from_str(text: &str) -> Result<Self, UnsafeWord> {
        let safe = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_ ".contains(c);
        match text.chars().find(|c| !safe(*c)) {
            Some(character) => Err(UnsafeWord { character }),
            None => Ok(Self(text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect())),
        }
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_shell_or_a_boot_loader_would_read_are_refused() {
        let line: CommandLine = "replant.controller=https://10.0.0.1:4433  console=ttyS0,115200".parse().unwrap();
        assert_eq!(line.to_string(), "replant.controller=https://10.0.0.1:4433 console=ttyS0,115200");
        for text in ["a;b", "$x", "a\nb", "a'b", "a\"b", "a\\", "#x", "a|b", "a{b", "é", "a\tb"] {
            assert!(text.parse::<CommandLine>().is_err(), "{text}");
        }
    }
}

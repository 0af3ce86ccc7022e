//! Settings against their JSON Schema, and the schema's defaults.

use serde_json::{Map, Value};

/// A setting that the schema refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// Names from the outside in; empty if the settings as a whole are refused.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
}

/// A compiled schema.
#[derive(Debug)]
pub struct SettingsSchema {
    schema: Value,
    validator: jsonschema::Validator,
}

impl SettingsSchema {
    /// Compiles a schema; the error says what is wrong with it.
    pub fn compile(schema: Value) -> Result<Self, String> {
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .build(&schema)
            .map_err(|error| error.to_string())?;
        Ok(Self { schema, validator })
    }

    /// Every violation.
    pub fn check(&self, settings: &Map<String, Value>) -> Vec<SettingError> {
        // The common case of no settings at all must cost nothing in a plan of ten thousand machines.
        if settings.is_empty() && self.schema.get("required").is_none() {
            return Vec::new();
        }
        let value = Value::Object(settings.clone());
        let errors = self.validator.iter_errors(&value);
        let text = |error: &jsonschema::ValidationError<'_>| error.instance_path().to_string();
        errors
            .map(|error| SettingError {
                path: text(&error).split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect(),
                message: error.to_string(),
            })
            .collect()
    }

    /// The settings with the schema's defaults where nothing was set.
    pub fn with_defaults(&self, settings: &Map<String, Value>) -> Map<String, Value> {
        let mut complete = settings.clone();
        if let Some(properties) = self.schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                if let Some(default) = property.get("default")
                    && !complete.contains_key(name)
                {
                    complete.insert(name.clone(), default.clone());
                }
            }
        }
        complete
    }
}

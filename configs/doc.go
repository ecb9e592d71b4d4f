// Package configs reads the one YAML file that configures a gateway, strictly.
//
// [Load] takes the file apart with positions and holds every key against the
// fields of [Config]: unknown, doubled and mistyped keys, numbers without a unit,
// names that point nowhere. It reports all errors at once, each as
// file:line: key: problem: remedy. What is missing gets the default that the
// field's tag and reference.yaml name; viper then decodes the completed document.
//
// reference.yaml documents every key and is parsed by a test; invalid/*.yaml are
// mistakes that people make, each with the message that it must give.
package configs

//! Processors: what a source needs, what a host has, what is reserved.

use super::derivation::{WHOLE, add_up, narrow};
use super::{Derived, Formula, SizingError, Sourced};
use crate::plan::Role;
use crate::units::{Frequency, Percent};

/// The processor work of a source at its highest sustained use, in clock rate of the target's processors.
///
/// `performance` is how much of the target's clock does the work of the source's: 100 % if the processors are alike,
/// 80 % if the target's do a quarter more per cycle.
pub fn cpu_demand(
    cpus: &Sourced<u64>,
    clock: &Sourced<Frequency>,
    sustained: &Sourced<Percent>,
    performance: &Sourced<Percent>,
) -> Result<Derived<Frequency>, SizingError> {
    let formula = Formula::CpuDemand;
    let too_large = SizingError::TooLarge { formula };
    let scaled = u128::from(cpus.value)
        .checked_mul(u128::from(clock.value.0))
        .and_then(|work| work.checked_mul(u128::from(sustained.value.0)))
        .and_then(|work| work.checked_mul(u128::from(performance.value.0)))
        .ok_or(too_large)?;
    let demand = narrow(formula, scaled.div_ceil(WHOLE * WHOLE))?;
    let inputs = vec![
        cpus.input("processors"),
        clock.input("clock rate"),
        sustained.input("highest sustained use"),
        performance.input("performance factor"),
    ];
    Ok(Derived::new(formula, Frequency(demand), inputs))
}

/// The processor work that VMs of a host can have. The reserve is the lesser of the share and one core; with the
/// classic 25 % the two agree up to four cores.
pub fn cpu_capacity(
    cores: &Sourced<u64>,
    clock: &Sourced<Frequency>,
    reserve: &Sourced<Percent>,
) -> Result<Derived<Frequency>, SizingError> {
    let formula = Formula::CpuCapacity;
    let core = u128::from(clock.value.0);
    let total = u128::from(cores.value) * core;
    let share =
        total.checked_mul(u128::from(reserve.value.0)).ok_or(SizingError::TooLarge { formula })?.div_ceil(WHOLE);
    let left = narrow(formula, total - share.min(core).min(total))?;
    let inputs = vec![cores.input("cores"), clock.input("clock rate"), reserve.input("reserve")];
    Ok(Derived::new(formula, Frequency(left), inputs))
}

/// The classic processor settings of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuSettings {
    /// Its weight against other VMs; 100 is the usual one.
    pub relative_weight: u32,
    /// What is reserved for it, as a share of *one* core of the host.
    pub reserved: Derived<Percent>,
    /// The most it may have of each of its processors.
    pub maximum: Percent,
}

/// The settings that reserve a demand: 400 MHz on cores of 3000 MHz are 13.3 %, so 14 %.
pub fn cpu_settings(demand: &Sourced<Frequency>, core: &Sourced<Frequency>) -> Result<CpuSettings, SizingError> {
    let formula = Formula::CpuReservation;
    let clock = match core.value.0 {
        0 => return Err(SizingError::ZeroClock { formula }),
        clock => u128::from(clock),
    };
    let scaled = u128::from(demand.value.0) * WHOLE;
    let narrowed = |share| u32::try_from(share).map_err(|_| SizingError::TooLarge { formula });
    let (exact, whole) = (narrowed(scaled / clock)?, narrowed(scaled.div_ceil(clock * 100) * 100)?);
    let inputs = vec![demand.input("processor demand"), core.input("clock rate of one host core")];
    let reserved = Derived::new(formula, Percent(whole), inputs).rounded_from(Percent(exact));
    Ok(CpuSettings { relative_weight: 100, reserved, maximum: Percent(10_000) })
}

/// What a reservation takes of the host; more than the demand, for it is a whole percentage.
pub fn reserved_frequency(
    reserved: &Sourced<Percent>,
    core: &Sourced<Frequency>,
) -> Result<Derived<Frequency>, SizingError> {
    let formula = Formula::ReservedFrequency;
    let taken = narrow(formula, (u128::from(reserved.value.0) * u128::from(core.value.0)).div_ceil(WHOLE))?;
    let inputs = vec![reserved.input("reserved share"), core.input("clock rate of one host core")];
    Ok(Derived::new(formula, Frequency(taken), inputs))
}

/// All reservations of a host; beyond its capacity a VM would not start.
pub fn total_frequency(all: impl IntoIterator<Item = Frequency>) -> Result<Frequency, SizingError> {
    add_up(Formula::Sum, all.into_iter().map(|one| one.0)).map(Frequency)
}

/// Whether a machine with several processors may move where a VM has fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmpFit {
    /// A VM can have as many.
    Fits,
    /// Fewer; good enough for test and training.
    TestOnly,
    /// Fewer, and it is production.
    Disqualified,
}

/// Compares the processors of a workload with the provider's limit per VM.
pub fn smp_fit(cpus: u32, limit: Option<u32>, role: Role) -> SmpFit {
    match (limit, role) {
        (None, _) => SmpFit::Fits,
        (Some(limit), _) if cpus <= limit => SmpFit::Fits,
        (Some(_), Role::Production) => SmpFit::Disqualified,
        (Some(_), Role::Test | Role::Training) => SmpFit::TestOnly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::sizing::Amount;
    use proptest::prelude::*;

    fn given<T>(value: T) -> Sourced<T> {
        Sourced::assumed(value, "test")
    }

    fn mhz(number: u64) -> Sourced<Frequency> {
        given(Frequency::megahertz(number))
    }

    fn demand(cpus: u64, clock: u64, percent: u32, performance: u32) -> Result<Frequency, SizingError> {
        cpu_demand(&given(cpus), &given(Frequency(clock)), &given(Percent(percent)), &given(Percent(performance)))
            .map(|d| d.value)
    }

    fn capacity(cores: u64, clock: u64, reserve: u32) -> Result<Frequency, SizingError> {
        cpu_capacity(&given(cores), &given(Frequency(clock)), &given(Percent(reserve))).map(|d| d.value)
    }

    /// 2 x 2000 MHz x 10 % = 400 MHz.
    #[test]
    fn worked_example_demand() {
        assert_eq!(demand(2, 2_000_000_000, 1000, 10_000), Ok(Frequency::megahertz(400)));
    }

    #[test]
    fn faster_target_processors_need_less_of_their_clock() {
        assert_eq!(demand(2, 2_000_000_000, 1000, 8_000), Ok(Frequency::megahertz(320)));
        assert_eq!(demand(2, 2_000_000_000, 1000, 15_000), Ok(Frequency::megahertz(600)));
    }

    /// 2 x 3000 MHz = 6000 MHz, of which 4500 are available.
    #[test]
    fn worked_example_capacity() {
        assert_eq!(capacity(2, 3_000_000_000, 2500), Ok(Frequency::megahertz(4500)));
    }

    #[test]
    fn the_reserve_is_a_quarter_or_one_core_whichever_is_less() {
        let classic = |cores: u64| Frequency::megahertz(cores * 3000 * 3 / 4);
        for cores in 1..=4 {
            assert_eq!(capacity(cores, 3_000_000_000, 2500), Ok(classic(cores)), "{cores} cores");
        }
        assert_eq!(capacity(8, 3_000_000_000, 2500), Ok(Frequency::megahertz(21_000)), "one core of eight");
        assert!(capacity(8, 3_000_000_000, 2500).unwrap() > classic(8));
    }

    /// 400 MHz of a 3000 MHz core is 13.3 %, so 14 %; dividing the other way round would give another number.
    #[test]
    fn worked_example_reservation() {
        let settings = cpu_settings(&mhz(400), &mhz(3000)).unwrap();
        assert_eq!(settings.reserved.value, Percent(1400));
        assert_eq!(settings.reserved.how.before_rounding, Some(Amount::Percent(Percent(1333))));
        assert_eq!((settings.relative_weight, settings.maximum), (100, Percent(10_000)));
        let taken = reserved_frequency(&settings.reserved.sourced(), &mhz(3000)).unwrap();
        assert_eq!(taken.value, Frequency::megahertz(420));
    }

    #[test]
    fn a_whole_percentage_is_not_rounded_further() {
        assert_eq!(cpu_settings(&mhz(300), &mhz(3000)).unwrap().reserved.value, Percent(1000));
        assert_eq!(cpu_settings(&mhz(0), &mhz(3000)).unwrap().reserved.value, Percent(0));
    }

    #[test]
    fn a_core_without_a_clock_is_an_error() {
        assert_eq!(cpu_settings(&mhz(400), &mhz(0)), Err(SizingError::ZeroClock { formula: Formula::CpuReservation }));
    }

    #[test]
    fn several_processors_on_a_single_core_vm_are_for_test_and_training() {
        assert_eq!(smp_fit(2, Some(1), Role::Production), SmpFit::Disqualified);
        assert_eq!(smp_fit(2, Some(1), Role::Training), SmpFit::TestOnly);
        assert_eq!(smp_fit(1, Some(1), Role::Production), SmpFit::Fits);
        assert_eq!(smp_fit(64, None, Role::Production), SmpFit::Fits);
    }

    proptest! {
        #[test]
        fn never_panics_and_grows_with_each_input(
            cpus in 0u64..1 << 20, clock: u64, percent in 0u32..2_000_000, performance in 0u32..2_000_000,
        ) {
            let grows = |low: Result<Frequency, SizingError>, high: Result<Frequency, SizingError>| match (low, high) {
                (Ok(low), Ok(high)) => low <= high,
                (Err(_), Ok(_)) => false,
                (_, Err(_)) => true,
            };
            let low = demand(cpus, clock, percent, performance);
            prop_assert!(grows(low, demand(cpus + 1, clock, percent, performance)));
            prop_assert!(grows(low, demand(cpus, clock.saturating_add(1), percent, performance)));
            prop_assert!(grows(low, demand(cpus, clock, percent + 1, performance)));
            prop_assert!(grows(low, demand(cpus, clock, percent, performance + 1)));
            prop_assert!(grows(capacity(cpus, clock, percent), capacity(cpus + 1, clock, percent)));
            prop_assert!(grows(capacity(cpus, clock, percent + 1), capacity(cpus, clock, percent)));
        }

        #[test]
        fn a_reservation_covers_its_demand_by_less_than_one_percent(demand: u64, core in 1u64..) {
            let core = given(Frequency(core));
            if let Ok(settings) = cpu_settings(&given(Frequency(demand)), &core)
                && let Ok(taken) = reserved_frequency(&settings.reserved.sourced(), &core)
            {
                prop_assert!(taken.value.0 >= demand);
                prop_assert!(u128::from(taken.value.0 - demand) * 100 <= u128::from(core.value.0) + 100);
            }
        }
    }
}

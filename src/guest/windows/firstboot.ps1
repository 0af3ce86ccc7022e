# Made by replant. Names, addresses, disks, tools of the old hypervisor, the guest agent, and a verdict.
$base = "$env:SystemRoot\replant"
$faults = @()

function Say($text) { Write-Output ("{0:HH:mm:ss} {1}" -f (Get-Date), $text) }

function Lines($file) {
    if (Test-Path "$base\$file") {
        Get-Content "$base\$file" | Where-Object { $_ -and -not $_.StartsWith('#') }
    }
}

# Storage that Windows keeps offline because its controller is new.
if (Get-Command Get-Disk -ErrorAction SilentlyContinue) {
    foreach ($disk in @(Get-Disk | Where-Object { $_.IsOffline })) {
        Say "disk $($disk.Number) goes online"
        Set-Disk -Number $disk.Number -IsOffline $false -ErrorAction Continue
        Set-Disk -Number $disk.Number -IsReadOnly $false -ErrorAction Continue
    }
}

# Names and fixed addresses follow the MAC address. A driver that was just installed takes a while.
foreach ($line in @(Lines 'network.txt')) {
    $mac, $guid, $name, $addresses, $masks, $gateways, $dns = $line.Split('|')
    $adapter = $null
    for ($i = 0; $i -lt 150 -and -not $adapter; $i++) {
        if ($i -gt 0) { Start-Sleep -Seconds 2 }
        $adapter = Get-WmiObject Win32_NetworkAdapter |
            Where-Object { $_.MACAddress -eq $mac -and $_.NetConnectionID } | Select-Object -First 1
    }
    if (-not $adapter) { $faults += "no adapter has the MAC address $mac"; continue }
    if ($adapter.NetConnectionID -ne $name) {
        Say "$($adapter.NetConnectionID) is called $name"
        & netsh.exe interface set interface name="$($adapter.NetConnectionID)" newname="$name"
    }
    if (-not $addresses) { continue }
    $config = Get-WmiObject Win32_NetworkAdapterConfiguration -Filter "Index=$($adapter.Index)"
    $code = $config.EnableStatic($addresses.Split(','), $masks.Split(',')).ReturnValue
    Say "$name has $addresses (code $code)"
    if ($code -ne 0 -and $code -ne 1) { $faults += "$name could not be given ${addresses}: code $code" }
    if ($gateways) {
        $code = $config.SetGateways($gateways.Split(',')).ReturnValue
        if ($code -ne 0 -and $code -ne 1) { $faults += "$name could not be given the gateway ${gateways}: code $code" }
    }
    if ($dns) {
        $code = $config.SetDNSServerSearchOrder($dns.Split(',')).ReturnValue
        if ($code -ne 0 -and $code -ne 1) { $faults += "$name could not be given the name servers ${dns}: code $code" }
    }
}

# Adapters that are gone: only newer Windows can remove them without another tool. Those left over do no harm.
if ([Environment]::OSVersion.Version.Build -ge 19041 -and (Get-Command Get-PnpDevice -ErrorAction SilentlyContinue)) {
    foreach ($ghost in @(Get-PnpDevice -Class Net -ErrorAction SilentlyContinue |
            Where-Object { -not $_.Present -and $_.InstanceId -like 'PCI\*' })) {
        Say "removing $($ghost.FriendlyName)"
        & pnputil.exe /remove-device "$($ghost.InstanceId)"
    }
}

foreach ($command in @(Lines 'remove.txt')) {
    Say "running $command"
    & cmd.exe /c $command
    Say "code $LASTEXITCODE"
}

# The plan's own scripts, in the order of their names; each runs once.
foreach ($script in @(Get-ChildItem "$base\scripts" -ErrorAction SilentlyContinue | Sort-Object Name)) {
    Say "running $($script.Name)"
    if ($script.Extension -eq '.ps1') {
        & powershell.exe -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "$($script.FullName)"
    } else {
        & cmd.exe /c "$($script.FullName)"
    }
    Say "code $LASTEXITCODE"
    if ($LASTEXITCODE -ne 0) { $faults += "$($script.Name) ended with $LASTEXITCODE" }
    Remove-Item $script.FullName -Force
}

foreach ($package in @(Get-ChildItem "$base\install\*.msi" -ErrorAction SilentlyContinue)) {
    Say "installing $($package.Name)"
    $run = Start-Process msiexec.exe -ArgumentList "/i `"$($package.FullName)`" /quiet /norestart" -Wait -PassThru
    if (@(0, 1641, 3010) -notcontains $run.ExitCode) { $faults += "$($package.Name): code $($run.ExitCode)" }
}

if ($faults) { $verdict = 'failed: ' + ($faults -join '; ') } else { $verdict = 'ready' }
Say $verdict
$words = if ($faults) { "REPLANT-GUEST-FAILED $($faults -join '; ')" } else { 'REPLANT-GUEST-READY' }
try {
    $port = New-Object System.IO.Ports.SerialPort COM1, 115200
    $port.Open()
    $port.WriteLine("`r`n$words")
    $port.Close()
} catch { Say "no serial port: $_" }
[IO.File]::WriteAllText("$base\verdict.txt", "$verdict`r`n")

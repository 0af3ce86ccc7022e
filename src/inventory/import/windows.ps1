# What is known of this Windows machine, for `replant inventory import`. Reads only; needs nothing but PowerShell 3 or
# newer. Run it as administrator, from any folder:
#   powershell -ExecutionPolicy Bypass -File THIS > web01.json
# Takes no passwords, no product keys, no arguments of commands.
$ErrorActionPreference = 'SilentlyContinue'
$ProgressPreference = 'SilentlyContinue'

function Get-Facts([string]$Class, [string[]]$Properties, [string]$Filter) {
    $query = @{ ClassName = $Class }
    if ($Filter) { $query.Filter = $Filter }
    @(Get-CimInstance @query | Select-Object -Property $Properties | ForEach-Object {
        $row = @{}
        foreach ($name in $Properties) {
            $value = $_.$name
            if ($value -is [datetime]) { $value = $value.ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ssZ') }
            if ($null -ne $value) { $row[$name] = $value }
        }
        $row
    })
}

# The program of a command line without its arguments.
function Get-Program([string]$Command) {
    if ($Command -match '^\s*"([^"]*)"') { return $Matches[1] }
    if ($Command -match '^\s*(.*?\.(exe|sys|dll|cmd|bat|com))(\s|,|$)') { return $Matches[1] }
    return ($Command -split '\s')[0]
}

function Get-Programs([string]$Class, [string[]]$Properties, [string]$Field) {
    @(Get-Facts $Class $Properties | ForEach-Object {
        if ($_[$Field]) { $_[$Field] = Get-Program $_[$Field] }
        $_
    })
}

$firmware = 'bios'
if ($env:firmware_type) { $firmware = $env:firmware_type.ToLower() }
elseif (Test-Path 'HKLM:\SYSTEM\CurrentControlSet\Control\SecureBoot') { $firmware = 'uefi' }
$power = Get-ItemProperty 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Power'
$secure = Get-ItemProperty 'HKLM:\SYSTEM\CurrentControlSet\Control\SecureBoot\State'
$version = Get-ItemProperty 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
$hal = (Get-Item "$env:SystemRoot\System32\hal.dll").VersionInfo
$pending = (Test-Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending') -or
    (Test-Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired')
$applications = @(
    'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\*',
    'HKLM:\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall\*'
) | ForEach-Object { Get-ItemProperty $_ } | Where-Object { $_.DisplayName } | ForEach-Object {
    @{ DisplayName = $_.DisplayName; DisplayVersion = $_.DisplayVersion; Publisher = $_.Publisher }
}
$encryption = @(Get-CimInstance -Namespace 'root\CIMV2\Security\MicrosoftVolumeEncryption' -ClassName Win32_EncryptableVolume |
    ForEach-Object { @{ DriveLetter = $_.DriveLetter; ProtectionStatus = $_.ProtectionStatus } })
$tpm = @(Get-CimInstance -Namespace 'root\CIMV2\Security\MicrosoftTpm' -ClassName Win32_Tpm).Count -gt 0
$gpt = @(Get-CimInstance -Namespace 'root\Microsoft\Windows\Storage' -ClassName MSFT_Disk | ForEach-Object {
    @{ Number = $_.Number; PartitionStyle = $_.PartitionStyle; BusType = $_.BusType; IsBoot = $_.IsBoot; IsClustered = $_.IsClustered }
})
$links = @(Get-CimInstance Win32_LogicalDiskToPartition | ForEach-Object {
    @{ Partition = $_.Antecedent.DeviceID; Volume = $_.Dependent.DeviceID }
})
$files = @('ntoskrnl.exe', 'hal.dll', 'drivers\disk.sys', 'drivers\partmgr.sys', 'drivers\volmgr.sys', 'drivers\ntfs.sys', 'drivers\storport.sys', 'drivers\ndis.sys') | ForEach-Object {
    $path = Join-Path "$env:SystemRoot\System32" $_
    $item = Get-Item $path
    @{ Path = $path; Present = [bool]$item; Size = $item.Length; Version = $item.VersionInfo.FileVersion }
}

$result = @{
    format = 'replant-windows-inventory'
    version = 1
    time = (Get-Date).ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ssZ')
    firmware = $firmware
    secureBoot = [bool]$secure.UEFISecureBootEnabled
    fastStartup = [bool]$power.HiberbootEnabled
    edition = $version.EditionID
    hal = $hal.InternalName
    restartPending = [bool]$pending
    tpm = $tpm
    system = Get-Facts Win32_ComputerSystem @('Name', 'Domain', 'PartOfDomain', 'DomainRole', 'Manufacturer', 'Model', 'TotalPhysicalMemory', 'HypervisorPresent')
    product = Get-Facts Win32_ComputerSystemProduct @('UUID', 'IdentifyingNumber')
    bios = Get-Facts Win32_BIOS @('SMBIOSBIOSVersion', 'Manufacturer')
    os = Get-Facts Win32_OperatingSystem @('Caption', 'Version', 'BuildNumber', 'OSArchitecture', 'ServicePackMajorVersion', 'MUILanguages', 'InstallDate', 'LastBootUpTime', 'SystemDrive')
    timeZone = Get-Facts Win32_TimeZone @('StandardName')
    processors = Get-Facts Win32_Processor @('Name', 'Manufacturer', 'NumberOfCores', 'NumberOfLogicalProcessors', 'MaxClockSpeed')
    controllers = @(Get-Facts Win32_SCSIController @('Name', 'PNPDeviceID', 'DriverName')) + @(Get-Facts Win32_IDEController @('Name', 'PNPDeviceID'))
    disks = Get-Facts Win32_DiskDrive @('DeviceID', 'Index', 'Model', 'SerialNumber', 'Size', 'InterfaceType', 'MediaType', 'BytesPerSector')
    storage = $gpt
    partitions = Get-Facts Win32_DiskPartition @('DeviceID', 'DiskIndex', 'Index', 'Size', 'StartingOffset', 'Type', 'Bootable')
    volumes = Get-Facts Win32_LogicalDisk @('DeviceID', 'FileSystem', 'Size', 'FreeSpace', 'VolumeName', 'VolumeSerialNumber') 'DriveType=3'
    links = $links
    encryption = $encryption
    adapters = Get-Facts Win32_NetworkAdapter @('Index', 'NetConnectionID', 'Name', 'MACAddress', 'Speed', 'PNPDeviceID', 'NetConnectionStatus', 'ServiceName', 'PhysicalAdapter') 'MACAddress IS NOT NULL'
    configurations = Get-Facts Win32_NetworkAdapterConfiguration @('Index', 'DHCPEnabled', 'IPAddress', 'IPSubnet', 'DefaultIPGateway', 'DNSServerSearchOrder') 'IPEnabled=TRUE'
    devices = Get-Facts Win32_PnPEntity @('Name', 'PNPDeviceID', 'PNPClass', 'Service') "PNPDeviceID LIKE 'PCI%' OR PNPDeviceID LIKE 'USB%' OR PNPDeviceID LIKE '1394%'"
    optical = Get-Facts Win32_CDROMDrive @('Drive', 'Name', 'MediaLoaded')
    sound = Get-Facts Win32_SoundDevice @('Name', 'PNPDeviceID')
    video = Get-Facts Win32_VideoController @('Name', 'PNPDeviceID')
    serial = Get-Facts Win32_SerialPort @('DeviceID', 'Name')
    services = Get-Programs Win32_Service @('Name', 'DisplayName', 'StartMode', 'State', 'PathName') 'PathName'
    drivers = Get-Programs Win32_SystemDriver @('Name', 'DisplayName', 'StartMode', 'State', 'PathName') 'PathName'
    startup = Get-Programs Win32_StartupCommand @('Name', 'Command', 'Location') 'Command'
    updates = Get-Facts Win32_QuickFixEngineering @('HotFixID', 'Description', 'InstalledOn')
    applications = @($applications)
    files = @($files)
}
$result | ConvertTo-Json -Depth 5

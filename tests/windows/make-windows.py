#!/usr/bin/python3
"""Makes a synthetic Windows disk: a partition table, NTFS, and real registry hives that hivex has filled. It cannot boot.

usage: make-windows.py OUT.img GENERATION bios|uefi|volume     GENERATION: 2003 2008r2 2012r2 2016 2019 2022 2025
`volume` writes the NTFS volume alone, without a partition table.
needs the Debian packages ntfs-3g, python3-hivex, fdisk, and for uefi dosfstools and mtools"""
import os, shutil, struct, subprocess, sys, tempfile
import hivex

GENERATIONS = {
    # name: product, (major, minor), build, edition, has DriverDatabase, architecture
    '2003': ('Microsoft Windows Server 2003', (5, 2), 3790, None, False, 'x86'),
    '2008r2': ('Windows Server 2008 R2 Standard', (6, 1), 7601, 'ServerStandard', False, 'AMD64'),
    '2012r2': ('Windows Server 2012 R2 Standard', (6, 3), 9600, 'ServerStandard', True, 'AMD64'),
    '2016': ('Windows Server 2016 Standard', (10, 0), 14393, 'ServerStandard', True, 'AMD64'),
    '2019': ('Windows Server 2019 Standard', (10, 0), 17763, 'ServerStandard', True, 'AMD64'),
    '2022': ('Windows Server 2022 Standard', (10, 0), 20348, 'ServerStandard', True, 'AMD64'),
    '2025': ('Windows Server 2025 Standard', (10, 0), 26100, 'ServerStandard', True, 'AMD64'),
}
NOWHERE = 0xffffffff
TIME = 133000000000000000
GUID = '{11111111-2222-3333-4444-555555555555}'
NETWORK = '{4D36E972-E325-11CE-BFC1-08002BE10318}'


def empty_hive(path, name):
    """A hive with a root key and one security descriptor, from scratch; hivex adds the rest."""
    def cell(content):
        size = (len(content) + 4 + 7) & ~7
        return struct.pack('<i', -size) + content + bytes(size - 4 - len(content))

    def sid(*parts):
        return struct.pack('<BB', 1, len(parts) - 1) + struct.pack('>Q', parts[0])[2:] + b''.join(
            struct.pack('<I', part) for part in parts[1:])

    admins, everyone = sid(5, 32, 544), sid(1, 0)
    ace = struct.pack('<BBHI', 0, 2, 8 + len(everyone), 0xF003F) + everyone
    acl = struct.pack('<BBHHH', 2, 0, 8 + len(ace), 1, 0) + ace
    descriptor = struct.pack('<BBHIIII', 1, 0, 0x8004, 20 + len(acl), 20 + len(acl) + len(admins), 0, 20)
    descriptor += acl + admins + admins

    def key(security):
        fields = [0, 0x20, 0, 0, NOWHERE, NOWHERE, 0, NOWHERE, security, NOWHERE, 0, 0, 0, 0, 0]
        return struct.pack('<2sHQ15I2H', b'nk', 0x2c, TIME, *fields, len(name), 0) + name.encode()

    security_at = 0x20 + len(cell(key(0)))
    security = struct.pack('<2sHIIII', b'sk', 0, security_at, security_at, 1, len(descriptor)) + descriptor
    body = cell(key(security_at)) + cell(security)
    free = 4096 - 32 - len(body)
    hive_bin = struct.pack('<4sIIQQI', b'hbin', 0, 4096, 0, TIME, 0) + body + struct.pack('<i', free) + bytes(free - 4)
    base = bytearray(4096)
    struct.pack_into('<4sIIQIIIIII', base, 0, b'regf', 1, 1, TIME, 1, 3, 0, 1, 0x20, 4096)
    struct.pack_into('<I', base, 44, 1)
    checksum = 0
    for at in range(0, 508, 4):
        checksum ^= struct.unpack_from('<I', base, at)[0]
    struct.pack_into('<I', base, 508, checksum)
    with open(path, 'wb') as hive:
        hive.write(bytes(base) + hive_bin)


SZ = lambda text: (1, (text + '\0').encode('utf-16le'))
EXPAND = lambda text: (2, (text + '\0').encode('utf-16le'))
BINARY = lambda data: (3, data)
NUMBER = lambda number: (4, struct.pack('<I', number))
MULTI = lambda *texts: (7, ''.join(text + '\0' for text in texts + ('',)).encode('utf-16le'))


def fill(path, tree):
    hive = hivex.Hivex(path, write=True)
    for key, values in tree.items():
        node = hive.root()
        for part in [part for part in key.split('\\') if part]:
            node = hive.node_get_child(node, part) or hive.node_add_child(node, part)
        if values:
            hive.node_set_values(node, [{'key': name, 't': kind, 'value': data} for name, (kind, data) in values.items()])
    hive.commit(None)


def service(start, kind, group, image):
    return {'Start': NUMBER(start), 'Type': NUMBER(kind), 'ErrorControl': NUMBER(1), 'Group': SZ(group), 'ImagePath': EXPAND(image)}


def program(machine):
    """The smallest thing that counts as a program for a processor."""
    optional = struct.pack('<HBB', 0x20b, 14, 0) + bytes(236)
    header = struct.pack('<4sHHIIIHH', b'PE\0\0', machine, 1, 0, 0, 0, 240, 0x22)
    return b'MZ' + bytes(58) + struct.pack('<I', 64) + header + optional + b'.text\0\0\0' + bytes(32) + b'\xc3' * 512


def system(generation, volume_start, current=1, variant=''):
    product, version, build, edition, database, architecture = GENERATIONS[generation]
    sets = f'ControlSet{current:03d}'
    drivers = '\\SystemRoot\\System32\\drivers\\'
    tree = {
        'Select': {'Current': NUMBER(current), 'Default': NUMBER(current), 'Failed': NUMBER(0), 'LastKnownGood': NUMBER(2)},
        'Setup': {'SystemSetupInProgress': NUMBER(0), 'SetupType': NUMBER(0)},
        'MountedDevices': {'\\DosDevices\\C:': BINARY(b'1234' + struct.pack('<Q', volume_start))},
        # A control set that is not in use: it must stay as it is.
        'ControlSet009\\Control': {'Untouched': SZ('yes')},
        'ControlSet009\\Services\\VMTools': service(2, 0x10, '', 'C:\\vmtoolsd.exe'),
        sets + '\\Control': {'CurrentUser': SZ('USERNAME'), 'SystemBootDevice': SZ('multi(0)disk(0)rdisk(0)partition(2)')},
        sets + '\\Control\\ComputerName\\ComputerName': {'ComputerName': SZ('SYNTHETIC')},
        sets + '\\Control\\CriticalDeviceDatabase\\PCI#VEN_8086&DEV_2922': {'Service': SZ('msahci')},
        sets + '\\Control\\CrashControl': {'AutoReboot': NUMBER(1), 'CrashDumpEnabled': NUMBER(2)},
        sets + '\\Control\\Class\\{4D36E97B-E325-11CE-BFC1-08002BE10318}': {'Class': SZ('SCSIAdapter')},
        sets + '\\Control\\Class\\{4D36E966-E325-11CE-BFC1-08002BE10318}\\0000': {'MatchingDeviceId': SZ('acpiapic_mp')},
        sets + '\\Control\\Session Manager': {'BootExecute': MULTI('autocheck autochk *')},
        sets + '\\Control\\Session Manager\\Environment': {'PROCESSOR_ARCHITECTURE': SZ(architecture)},
        sets + '\\Control\\Session Manager\\Power': {'HiberbootEnabled': NUMBER(1 if variant == 'fast-startup' else 0)},
        sets + '\\Control\\TimeZoneInformation': {'TimeZoneKeyName': SZ('UTC')},
        sets + '\\Services\\atapi': service(3, 1, 'SCSI Miniport', drivers + 'atapi.sys'),
        sets + '\\Services\\atapi\\StartOverride': {'0': NUMBER(3)},
        sets + '\\Services\\intelppm': service(3, 1, 'Extended Base', drivers + 'intelppm.sys'),
        sets + '\\Services\\disk': service(0, 1, '', drivers + 'disk.sys'),
        sets + '\\Services\\CqMgHost': service(2, 0x10, '', 'C:\\compaq\\cqmghost.exe'),
        sets + '\\Services\\VMTools': service(2, 0x110, '', '"C:\\Program Files\\VMware\\VMware Tools\\vmtoolsd.exe"'),
        sets + '\\Services\\Tcpip\\Parameters': {'Hostname': SZ('SYNTHETIC'), 'Domain': SZ('example.test')},
        sets + '\\Services\\Tcpip\\Parameters\\Interfaces\\' + GUID: {
            'EnableDHCP': NUMBER(0), 'IPAddress': MULTI('10.77.0.60', '10.77.0.61'),
            'SubnetMask': MULTI('255.255.255.0', '255.255.255.0'), 'DefaultGateway': MULTI('10.77.0.1'),
            'NameServer': SZ('10.77.0.1,10.77.0.2')},
        sets + '\\Enum\\PCI\\VEN_8086&DEV_100E\\3&11583659&0&10': {'ConfigFlags': NUMBER(0)},
        sets + '\\Control\\Network\\' + NETWORK + '\\' + GUID + '\\Connection': {
            'Name': SZ('Local Area Connection'), 'PnpInstanceID': SZ('PCI\\VEN_8086&DEV_100E\\3&11583659&0&10')},
        # Names and data beyond what we write: they must survive.
        sets + '\\Services\\\u00dcnicode': {'W\u00e4rt': SZ('\u20ac'), 'Start': NUMBER(4), 'Type': NUMBER(1)},
        sets + '\\Large': {'Data': BINARY(bytes(range(256)) * 100)},
    }
    if version >= (10, 0):
        tree[sets + '\\Control\\NetworkSetup2\\Interfaces\\' + GUID + '\\Kernel'] = {
            'PermanentAddress': BINARY(bytes.fromhex('525400123456'))}
    if database:
        for key in ('DriverInfFiles', 'DeviceIds\\PCI', 'DriverPackages'):
            tree['DriverDatabase\\' + key] = {}
        tree['DriverDatabase'] = {'Version': NUMBER(0x06030000)}
    return tree


def software(generation):
    product, version, build, edition, database, architecture = GENERATIONS[generation]
    current = {'ProductName': SZ(product), 'CurrentVersion': SZ('6.3' if version >= (6, 3) else '%d.%d' % version),
               'CurrentBuild': SZ(str(build)), 'CurrentBuildNumber': SZ(str(build)), 'SystemRoot': SZ('C:\\Windows'),
               'PathName': SZ('C:\\Windows')}
    if version >= (10, 0):
        current |= {'CurrentMajorVersionNumber': NUMBER(10), 'CurrentMinorVersionNumber': NUMBER(0)}
    if version >= (6, 0):
        current |= {'InstallationType': SZ('Server'), 'EditionID': SZ(edition)}
    tools = 'Microsoft\\Windows\\CurrentVersion\\Uninstall\\{1C5B1A7B-0D4C-4B0A-9F7E-0A1B2C3D4E5F}'
    return {
        'Microsoft\\Windows NT\\CurrentVersion': current,
        'Microsoft\\Windows\\CurrentVersion': {'ProgramFilesDir': SZ('C:\\Program Files'), 'DevicePath': EXPAND('%SystemRoot%\\inf')},
        tools: {'DisplayName': SZ('VMware Tools'), 'DisplayVersion': SZ('12.1.0'), 'UninstallString': SZ('MsiExec.exe /I{1C5B1A7B-0D4C-4B0A-9F7E-0A1B2C3D4E5F}')},
        'Microsoft\\Windows\\CurrentVersion\\Run': {'Agent': SZ('C:\\agent.exe')},
        'Microsoft\\Windows\\CurrentVersion\\RunOnce': {}, 'Policies\\Microsoft': {},
    }


def main():
    out, generation, layout = sys.argv[1:4]
    variant = sys.argv[4] if len(sys.argv) > 4 else ''
    current = 3 if variant == 'set3' else 1
    work = tempfile.mkdtemp()
    mounted = work + '/mounted'
    os.mkdir(mounted)
    run = lambda *command, **options: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)
    # Other converters want more room on the volume than ours does.
    size = 400000 if variant == 'large' else 120000
    boot_start, boot_size, start = {'bios': (2048, 65536, 67584), 'uefi': (2048, 65536, 100352), 'volume': (0, 0, 0)}[layout]
    run('truncate', '-s', str((start + size + 4096) * 512), out)
    if layout == 'bios':
        run('sfdisk', '-q', out, input=f'label: dos\nlabel-id: 0x31323334\nstart={boot_start},size={boot_size},type=7,bootable\nstart={start},size={size},type=7\n'.encode())
    elif layout == 'uefi':
        run('sfdisk', '-q', out, input=(
            f'label: gpt\nstart={boot_start},size={boot_size},type=U,name="EFI system partition"\n'
            'start=67584,size=32768,type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE,name="Microsoft reserved partition"\n'
            f'start={start},size={size},type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7,name="Basic data partition"\n').encode())
    hives = work + '/hives'
    os.mkdir(hives)
    for name in ('SYSTEM', 'SOFTWARE', 'SAM', 'SECURITY', 'DEFAULT', 'BCD'):
        empty_hive(f'{hives}/{name}', name)
    fill(hives + '/SYSTEM', system(generation, start * 512, current, variant))
    fill(hives + '/SOFTWARE', software(generation))
    loader = '\\Windows\\system32\\winload' + ('.efi' if layout == 'uefi' else '.exe')
    def device():
        """A device element: the volume's partition on a disk with a DOS table or a GPT."""
        table = (1, struct.pack('<Q', start * 512) + bytes(8), struct.pack('<I', 0x31323334) + bytes(12))
        if layout == 'uefi':
            table = (0, bytes(range(16)), bytes(range(16, 32)))
        partition, disk = table[1:]
        return bytes(16) + struct.pack('<IIII', 6, 0, 0x48, 0) + partition + struct.pack('<II', 0, table[0]) + disk + bytes(16)

    fill(hives + '/BCD', {'Description': {'KeyName': SZ('BCD00000000'), 'System': NUMBER(1)},
                          'Objects\\{9dea862c-5cdd-4e70-acc1-f32b344d4795}\\Description': {'Type': NUMBER(0x10100002)},
                          'Objects\\{9dea862c-5cdd-4e70-acc1-f32b344d4795}\\Elements\\23000003': {'Element': SZ('{00000000-0000-0000-0000-000000000001}')},
                          'Objects\\{9dea862c-5cdd-4e70-acc1-f32b344d4795}\\Elements\\25000004': {'Element': BINARY(struct.pack('<Q', 30))},
                          'Objects\\{00000000-0000-0000-0000-000000000001}\\Description': {'Type': NUMBER(0x10200003)},
                          'Objects\\{00000000-0000-0000-0000-000000000001}\\Elements\\11000001': {'Element': BINARY(device())},
                          'Objects\\{00000000-0000-0000-0000-000000000001}\\Elements\\21000001': {'Element': BINARY(device())},
                          'Objects\\{00000000-0000-0000-0000-000000000001}\\Elements\\12000004': {'Element': SZ('Windows Server')},
                          'Objects\\{00000000-0000-0000-0000-000000000001}\\Elements\\12000002': {'Element': SZ(loader)}})
    if variant == 'dirty-hive':
        with open(hives + '/SYSTEM', 'r+b') as hive:
            base = bytearray(hive.read(512))
            struct.pack_into('<I', base, 4, struct.unpack_from('<I', base, 8)[0] + 1)
            checksum = 0
            for at in range(0, 508, 4):
                checksum ^= struct.unpack_from('<I', base, at)[0]
            struct.pack_into('<I', base, 508, checksum)
            hive.seek(0)
            hive.write(base)

    def ntfs(first, sectors, label, populate):
        volume = out if layout == 'volume' else work + '/volume'
        run('truncate', '-s', str(sectors * 512), volume)
        run('mkntfs', '-q', '-F', '-f', '-s', '512', '-p', str(first), '-H', '255', '-S', '63', '-L', label, volume, stderr=subprocess.DEVNULL)
        process = subprocess.Popen(['ntfs-3g', '-o', 'windows_names,no_detach', volume, mounted], stderr=subprocess.DEVNULL)
        while not os.path.ismount(mounted):
            if process.poll() is not None:
                sys.exit('ntfs-3g could not mount the new volume')
        try:
            populate(mounted)
        finally:
            run('umount', mounted)
            process.wait()
        if layout != 'volume':
            run('dd', f'if={volume}', f'of={out}', 'bs=512', f'seek={first}', 'conv=notrunc,sparse', stderr=subprocess.DEVNULL)
            os.unlink(volume)

    def reserved(root):
        os.makedirs(root + '/Boot')
        open(root + '/bootmgr', 'wb').write(b'bootmgr')
        shutil.copyfile(hives + '/BCD', root + '/Boot/BCD')

    def windows(root):
        for folder in ('Windows/System32/config', 'Windows/System32/drivers', 'Windows/inf', 'Windows/Temp', 'Program Files', 'ProgramData', 'Users/Administrator'):
            os.makedirs(f'{root}/{folder}')
        for name in ('SYSTEM', 'SOFTWARE', 'SAM', 'SECURITY', 'DEFAULT'):
            shutil.copyfile(f'{hives}/{name}', f'{root}/Windows/System32/config/{name}')
        machine = 0x14c if GENERATIONS[generation][5] == 'x86' else 0x8664
        for name in ('System32/cmd.exe', 'explorer.exe', 'System32/ntoskrnl.exe', 'System32/drivers/disk.sys'):
            open(f'{root}/Windows/{name}', 'wb').write(program(machine))
        # The hives belong to the system alone, as in a real Windows: a descriptor that a copy must take over.
        for name in ('SYSTEM', 'SOFTWARE'):
            os.setxattr(f'{root}/Windows/System32/config/{name}', 'system.ntfs_acl', descriptor())
        if variant in ('hibernated', 'fast-startup'):
            open(root + '/hiberfil.sys', 'wb').write(b'hibr' + bytes(65532))
        open(root + '/pagefile.sys', 'wb').truncate(1 << 20)

    if layout == 'bios':
        ntfs(boot_start, boot_size, 'System Reserved', reserved)
    elif layout == 'uefi':
        esp = work + '/esp'
        run('truncate', '-s', str(boot_size * 512), esp)
        run('mkfs.vfat', '-n', 'SYSTEM', esp)
        run('mmd', '-i', esp, '::/EFI', '::/EFI/Microsoft', '::/EFI/Microsoft/Boot')
        open(work + '/loader', 'wb').write(program(0x8664))
        run('mcopy', '-i', esp, work + '/loader', '::/EFI/Microsoft/Boot/bootmgfw.efi')
        run('mcopy', '-i', esp, hives + '/BCD', '::/EFI/Microsoft/Boot/BCD')
        run('dd', f'if={esp}', f'of={out}', 'bs=512', f'seek={boot_start}', 'conv=notrunc,sparse', stderr=subprocess.DEVNULL)
    ntfs(start, size, 'Windows', windows)
    shutil.rmtree(work)


def descriptor():
    """Owner SYSTEM; full access for SYSTEM and administrators, none for others."""
    def sid(*parts):
        return struct.pack('<BB', 1, len(parts)) + bytes([0, 0, 0, 0, 0, 5]) + b''.join(struct.pack('<I', part) for part in parts)
    owner, admins = sid(18), sid(32, 544)
    aces = b''.join(struct.pack('<BBHI', 0, 0, 8 + len(who), 0x1f01ff) + who for who in (owner, admins))
    acl = struct.pack('<BBHHH', 2, 0, 8 + len(aces), 2, 0) + aces
    return struct.pack('<BBHIIII', 1, 0, 0x9004, 20, 20 + len(owner), 0, 20 + 2 * len(owner)) + owner + owner + acl


main()

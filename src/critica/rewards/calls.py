"""System call numbers of the two processors that the filters know, and the calls that a program may make freely."""

import platform


def _table(text: str) -> dict[str, int]:
    return {name: int(number) for name, number in (word.split("=") for word in text.split())}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


X86_64 = _table("""
    read=0 write=1 open=2 close=3 stat=4 fstat=5 lstat=6 poll=7 lseek=8 mmap=9 mprotect=10 munmap=11 brk=12
    rt_sigaction=13 rt_sigprocmask=14 rt_sigreturn=15 rt_sigpending=127 rt_sigtimedwait=128 rt_sigsuspend=130
    sigaltstack=131 pread64=17 pwrite64=18 readv=19 writev=20 preadv=295 pwritev=296 access=21 pipe=22 pipe2=293
    select=23 sched_yield=24 mremap=25 msync=26 mincore=27 madvise=28 dup=32 dup2=33 dup3=292 pause=34
    nanosleep=35 clock_nanosleep=230 getitimer=36 setitimer=38 alarm=37 getpid=39 getppid=110 gettid=186
    sendfile=40 sendto=44 recvfrom=45 sendmsg=46 recvmsg=47 shutdown=48 getsockname=51 getpeername=52
    setsockopt=54 getsockopt=55 exit=60 exit_group=231 wait4=61 waitid=247 uname=63 flock=73 fsync=74
    fdatasync=75 truncate=76 ftruncate=77 getdents=78 getdents64=217 getcwd=79 chdir=80 fchdir=81 rename=82
    mkdir=83 rmdir=84 creat=85 link=86 unlink=87 symlink=88 readlink=89 chmod=90 fchmod=91 umask=95
    gettimeofday=96 getrlimit=97 setrlimit=160 getrusage=98 sysinfo=99 times=100 getuid=102 getgid=104
    geteuid=107 getegid=108 getresuid=118 getresgid=120 getgroups=115 getpgrp=111 getpgid=121 getsid=124
    sched_getaffinity=204 sched_getparam=143 sched_getscheduler=145 sched_get_priority_max=146
    sched_get_priority_min=147 getpriority=140 futex=202 set_robust_list=273 set_tid_address=218
    restart_syscall=219 clock_gettime=228 clock_getres=229 time=201 epoll_create=213 epoll_create1=291
    epoll_ctl=233 epoll_wait=232 epoll_pwait=281 epoll_pwait2=441 eventfd=284 eventfd2=290 timerfd_create=283
    timerfd_settime=286 timerfd_gettime=287 openat=257 mkdirat=258 newfstatat=262 unlinkat=263 renameat=264
    renameat2=316 linkat=265 symlinkat=266 readlinkat=267 fchmodat=268 faccessat=269 faccessat2=439
    utimensat=280 pselect6=270 ppoll=271 fallocate=285 statx=332 rseq=334 getrandom=318 copy_file_range=326
    close_range=436 statfs=137 fstatfs=138 membarrier=324 arch_prctl=158 getcpu=309 fadvise64=221
    futex_waitv=449 kill=62 tgkill=234 clone=56 clone3=435 fork=57 vfork=58 prctl=157 prlimit64=302 fcntl=72
    ioctl=16 socket=41 socketpair=53 execve=59 execveat=322 landlock_create_ruleset=444 unshare=272 mount=165
    pivot_root=155 setns=308 umount2=166 ptrace=101
""")
AARCH64 = _table("""
    read=63 write=64 close=57 fstat=80 lseek=62 mmap=222 mprotect=226 munmap=215 brk=214 rt_sigaction=134
    rt_sigprocmask=135 rt_sigreturn=139 rt_sigpending=136 rt_sigtimedwait=137 rt_sigsuspend=133 sigaltstack=132
    pread64=67 pwrite64=68 readv=65 writev=66 preadv=69 pwritev=70 pipe2=59 sched_yield=124 mremap=216 msync=227
    mincore=232 madvise=233 dup=23 dup3=24 nanosleep=101 clock_nanosleep=115 getitimer=102 setitimer=103
    getpid=172 getppid=173 gettid=178 sendfile=71 sendto=206 recvfrom=207 sendmsg=211 recvmsg=212 shutdown=210
    getsockname=204 getpeername=205 setsockopt=208 getsockopt=209 exit=93 exit_group=94 wait4=260 waitid=95
    uname=160 flock=32 fsync=82 fdatasync=83 truncate=45 ftruncate=46 getdents64=61 getcwd=17 chdir=49 fchdir=50
    fchmod=52 umask=166 gettimeofday=169 getrlimit=163 setrlimit=164 getrusage=165 sysinfo=179 times=153
    getuid=174 getgid=176 geteuid=175 getegid=177 getresuid=148 getresgid=150 getgroups=158 getpgid=155
    getsid=156 sched_getaffinity=123 sched_getparam=121 sched_getscheduler=120 sched_get_priority_max=125
    sched_get_priority_min=126 getpriority=141 futex=98 set_robust_list=99 set_tid_address=96
    restart_syscall=128 clock_gettime=113 clock_getres=114 epoll_create1=20 epoll_ctl=21 epoll_pwait=22
    epoll_pwait2=441 eventfd2=19 timerfd_create=85 timerfd_settime=86 timerfd_gettime=87 openat=56 mkdirat=34
    newfstatat=79 unlinkat=35 renameat=38 renameat2=276 linkat=37 symlinkat=36 readlinkat=78 fchmodat=53
    faccessat=48 faccessat2=439 utimensat=88 pselect6=72 ppoll=73 fallocate=47 statx=291 rseq=293 getrandom=278
    copy_file_range=285 close_range=436 statfs=43 fstatfs=44 membarrier=283 getcpu=168 fadvise64=223
    futex_waitv=449 kill=129 tgkill=131 clone=220 clone3=435 prctl=167 prlimit64=261 fcntl=25 ioctl=29
    socket=198 socketpair=199 execve=221 execveat=281 landlock_create_ruleset=444 unshare=97 mount=40
    pivot_root=41 setns=268 umount2=39
    ptrace=117
""")
AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NUMBERS = {"x86_64": X86_64, "aarch64": AARCH64}

# Allowed only with some arguments, or never: `filters` says which. Every other name above is free.
GUARDED = _names("""
    kill tgkill clone clone3 fork vfork prctl prlimit64 fcntl ioctl socket socketpair execve execveat unshare
    mount pivot_root setns umount2 ptrace landlock_create_ruleset
""")
# Calls that change a folder or a file by name: refused where a program has no scratch folder.
CHANGES = _names("""
    truncate rename mkdir rmdir creat link unlink symlink chmod mkdirat unlinkat renameat renameat2 linkat symlinkat
    fchmodat utimensat fchmod
""")


def machine() -> str:
    """The processor's name as in `NUMBERS`; empty if its calls are not known here."""
    name = platform.machine()
    return name if name in NUMBERS else ""

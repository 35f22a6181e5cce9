"""Every command, bad input for each of its options, and what it prints for scripts."""

COMMANDS = {
    "ca": ("init serve requests confirm issue list fingerprint reopen drop revoke crl renew show status publish"),
    "bank": (
        "init request fetch fingerprint serve open-account deposit withdraw accounts transfers statement evidence "
        "audit status backup restore begin-new-log"
        " renew join add-server doctor migrate-ledger"
    ),
    "customer": (
        "init register request fetch fingerprint send balance statement outbox resume evidence verify status "
        "renew revoke"
    ),
    "keyring": "list show fingerprint packets",
}
EVERY = [(program, command) for program, names in COMMANDS.items() for command in names.split()]

# Program, option or argument that is bad, a word of the complaint, and the command; in braces what the stand has.
BAD = """
ca       --name             name          init --home {new} --passphrase-file {secret} --name "a\\nb"
ca       --listen           address       init --home {new} --passphrase-file {secret} --name CA --listen nowhere
ca       --passphrase-file  passphrase    init --home {new} --passphrase-file {nothing} --name CA
ca       --home             ca            init --home {ca} --passphrase-file {secret} --name CA
ca       --home             nowhere       requests --home {nowhere}
ca       --take             document      requests --home {ca} --take {text}
ca       request            request       confirm --home {ca} ffffffff --called-back 1 --words x
ca       --words            --words       confirm --home {ca} ffff --words a --hex b
ca       --hex              --hex         confirm --home {ca} ffff --hex a --words b
ca       --caller-code      --caller-code confirm --home {ca} ffff --caller-code a --called-back b --words x
ca       --caller-code-file nowhere       confirm --home {ca} ffff --caller-code-file {nowhere} --words x
ca       --called-back      --called-back confirm --home {ca} ffff --called-back a --caller-code b --words x
ca       --notice           --notice      confirm --home {ca} ffff --notice {nowhere} --words x --called-back 1
ca       --home             nowhere       confirm --home {nowhere} ffff --words x --called-back 1
ca       request            request       issue --home {ca} zzzz --passphrase-file {secret}
ca       --days             --days        issue --home {ca} ffff --days 0 --passphrase-file {secret}
ca       --days             --days        issue --home {ca} ffff --days many --passphrase-file {secret}
ca       --passphrase-file  nowhere       issue --home {ca} {confirmed} --passphrase-file {nowhere}
ca       --home             nowhere       issue --home {nowhere} ffff --passphrase-file {secret}
ca       --listen           address       serve --home {ca} --listen 127.0.0.1
ca       --log-file         log           serve --home {ca} --listen 127.0.0.1:0 --log-file {nowhere}/log
ca       --home             nowhere       serve --home {nowhere}
ca       --home             nowhere       list --home {nowhere}
ca       --home             nowhere       fingerprint --home {nowhere}
ca       --publish-url      address       init --home {new} --name CA --passphrase-file {secret} --publish-url ftp://x
ca       request            request       reopen --home {ca} zzzz --reason r --operator o
ca       --reason           --reason      reopen --home {ca} zzzz
ca       --home             nowhere       reopen --home {nowhere} ffff --reason r
ca       requests           request       drop --home {ca} zzzz --reason r
ca       --reason           --reason      drop --home {ca} zzzz
ca       --notices          notice        drop --home {ca} --notices 9999 --reason r
ca       --home             nowhere       drop --home {nowhere} ffff --reason r
ca       certificate        9999          revoke --home {ca} 9999 --reason superseded --passphrase-file {secret}
ca       --reason           --reason      revoke --home {ca} 1001 --reason boredom --passphrase-file {secret}
ca       --passphrase-file  nowhere       revoke --home {ca} 1001 --reason superseded --passphrase-file {nowhere}
ca       --home             nowhere       revoke --home {nowhere} 1001 --reason superseded --passphrase-file {secret}
ca       --days             --days        crl --home {ca} --days 0 --passphrase-file {secret}
ca       --passphrase-file  nowhere       crl --home {ca} --passphrase-file {nowhere}
ca       --home             nowhere       crl --home {nowhere} --passphrase-file {secret}
ca       certificate        9999          renew --home {ca} 9999 --passphrase-file {secret}
ca       --overlap-days     --overlap     issue --home {ca} 1001 --overlap-days 0 --passphrase-file {secret}
ca       --days             --days        renew --home {ca} 1001 --days 0 --passphrase-file {secret}
ca       --passphrase-file  nowhere       renew --home {ca} 1001 --passphrase-file {nowhere}
ca       --home             nowhere       renew --home {nowhere} 1001 --passphrase-file {secret}
ca       certificate        9999          show --home {ca} 9999
ca       --home             nowhere       show --home {nowhere} 1001
ca       --home             nowhere       status --home {nowhere}
ca       folder             text          publish --home {ca} {text}
ca       --home             nowhere       publish --home {nowhere} {new}
bank     --name             empty         init --home {new} --currency EUR --authority-fingerprint {hex} --name ""
bank     --name             character     init --home {new} --currency EUR --authority-fingerprint {hex} --name "a<b"
bank     --currency         capital       init --home {new} --name B --authority-fingerprint {hex} --currency EURO
bank     --currency         QQQ           init --home {new} --name B --authority-fingerprint {hex} --currency QQQ
bank     --authority        address       {bankinit} --authority x
bank     --listen           address       {bankinit} --listen x:y
bank     --public-address   address       {bankinit} --public-address :1
bank     --minimum-stage    minimum-stage {bankinit} --minimum-stage none
bank     --authority-fingerprint word     init --home {new} --name B --currency EUR --authority-fingerprint "zz zz"
bank     --domain           domain        {bankinit} --domain A
bank     --ledger           URL           {bankinit} --ledger postgresql//nowhere
bank     --ledger           password      {bankinit} --ledger postgresql://bank:hidden@nowhere/bank
bank     --home             already       init --home {bank} --name B --currency EUR --authority-fingerprint {hex}
bank     --home             --home        request --home {nowhere}
bank     --out              out           request --home {bank} --out {nowhere}/out
bank     --home             --home        fetch --home {nowhere}
bank     --in               text          fetch --home {bank} --in {text}
bank     --in               read          fetch --home {bank} --in {nowhere}
bank     --home             --home        fingerprint --home {nowhere}
bank     --qr-file          qr            fingerprint --home {bank} --qr-file {nowhere}/qr.png
bank     --home             --home        serve --home {nowhere}
bank     --listen           address       serve --home {idle} --listen nowhere
bank     --processes        --processes   serve --home {idle} --listen 127.0.0.1:0 --processes 0
bank     --log-file         log           serve --home {idle} --listen 127.0.0.1:0 --log-file {nowhere}/log
bank     --home             nowhere       doctor --home {nowhere}
bank     --log-format       --log-format  serve --home {idle} --listen 127.0.0.1:0 --log-format prose
bank     --number           number        open-account --home {bank} --name A --number 12a
bank     --number           number        open-account --home {bank} --name A --number 1001
bank     --name             name          open-account --home {bank} --number 77 --name "a<b"
bank     --letter           letter        open-account --home {bank} --number 77 --name A --letter {letter}
bank     --letter           nowhere       open-account --home {bank} --number 77 --name A --letter {nowhere}/x
bank     --notice-file      letter        open-account --home {bank} --number 77 --name A --notice-file {letter}
bank     --home             --home        open-account --home {nowhere} --number 77 --name A
bank     --to               AC03          deposit --home {bank} --amount 1.00 --to 9999
bank     --to               creditor      deposit --home {bank} --amount 1.00 --to x
bank     --amount           amount        deposit --home {bank} --to 1001 --amount 1e3
bank     --amount           amount        deposit --home {bank} --to 1001 --amount 0
bank     --description      description   deposit --home {bank} --to 1001 --amount 1 --description {long}
bank     --id               --id          deposit --home {bank} --to 1001 --amount 1 --id "a b"
bank     --home             --home        deposit --home {nowhere} --to 1001 --amount 1
bank     --from             9999          withdraw --home {bank} --amount 1.00 --from 9999
bank     --amount           amount        withdraw --home {bank} --from 1001 --amount -1
bank     --description      description   withdraw --home {bank} --from 1001 --amount 1 --description "a\\x01b"
bank     --id               --id          withdraw --home {bank} --from 1001 --amount 1 --id {long}
bank     --home             --home        withdraw --home {nowhere} --from 1001 --amount 1
bank     number             9999          accounts --home {bank} 9999
bank     --status           --status      accounts --home {bank} 1001 --status shut
bank     --status           account       accounts --home {bank} --status blocked
bank     --floor            --floor       accounts --home {bank} 1001 --floor cellar
bank     --home             --home        accounts --home {nowhere}
bank     --account          9999          transfers --home {bank} --account 9999
bank     --after            --after       transfers --home {bank} --after x
bank     --lines            --lines       transfers --home {bank} --lines 0
bank     --home             --home        transfers --home {nowhere}
bank     number             9999          statement --home {bank} 9999
bank     --after            --after       statement --home {bank} 1001 --after -1
bank     --lines            --lines       statement --home {bank} 1001 --lines x
bank     --home             --home        statement --home {nowhere} 1001
bank     identifier         nothing       evidence --home {bank} nothing --debtor 1001 --out {new}
bank     --debtor           9999          evidence --home {bank} nothing --debtor 9999 --out {new}
bank     --out              --out         evidence --home {bank} nothing --debtor 1001 --out {bank}
bank     --home             --home        evidence --home {nowhere} x --debtor 1001 --out {new}
bank     --since            --since       audit --home {bank} --since -1
bank     --since            past          audit --home {bank} --since 999999
bank     --home             --home        audit --home {nowhere}
bank     --home             --home        status --home {nowhere}
bank     --out              --out         backup --home {bank} --out {text}
bank     --keys-passphrase-file passphrase backup --home {bank} --out {new} --keys-passphrase-file {nothing}
bank     --home             --home        backup --home {nowhere} --out {new}
bank     backup             backup        restore --home {new} {nowhere}
bank     --head             ledger        restore --home {bank} {backup} --head {text}
bank     --keys-passphrase-file passphrase restore --home {new} {backup} --keys-passphrase-file {nothing}
bank     --home             ledger        restore --home {bank} {backup}
bank     --ledger           password      restore --home {new} {backup} --ledger postgresql://bank:hidden@nowhere/bank
bank     --ledger           URL           restore --home {new} {backup} --ledger postgresql//nowhere
bank     --home             --home        migrate-ledger --home {nowhere} --to postgresql:///bank
bank     --to               --to          migrate-ledger --home {bank}
bank     --to               password      migrate-ledger --home {bank} --to postgresql://bank:hidden@nowhere/bank
bank     --to               URL           migrate-ledger --home {bank} --to nowhere
bank     --home             running       migrate-ledger --home {bank} --to postgresql://127.0.0.1:1/bank
bank     --home             --home        begin-new-log --home {nowhere}
bank     --home             running       begin-new-log --home {bank}
bank     --home             --home        renew --home {nowhere}
bank     --in               text          renew --home {bank} --in {text}
bank     --home             already       join --home {bank} --out {new}.pgp
bank     --out              --out         join --home {new} --out {nowhere}/out
bank     --take             --take        join --home {new} --take {nowhere}
bank     --take             begun         join --home {new} --take {text} --bank-fingerprint {hex}
bank     --bank-fingerprint word          join --home {new} --take {text} --bank-fingerprint "zz zz"
bank     --listen           --listen      join --home {new} --out {new}.pgp --listen nowhere
bank     --ledger           --ledger      join --home {new} --out {new}.pgp --ledger nowhere
bank     --ledger           password      join --home {new} --take {text} --bank-fingerprint {hex} --ledger postgresql://u:p@h/d
bank     --public-address   --public      join --home {new} --out {new}.pgp --public-address nowhere
bank     --home             --home        add-server --home {nowhere} {text} --out {new} --fingerprint {hex}
bank     request            nowhere       add-server --home {bank} {nowhere} --out {new} --fingerprint {hex}
bank     request            text          add-server --home {bank} {text} --out {new} --fingerprint {hex}
bank     --fingerprint      word          add-server --home {bank} {text} --out {new} --fingerprint "zz zz"
bank     --out              --out         add-server --home {bank} {text} --fingerprint {hex}
bank     --out              folder        add-server --home {bank} {text} --out {nowhere}/out --fingerprint {hex}
customer --letter           letter        init --home {new} --no-passphrase --letter {nowhere}
customer --letter           line          init --home {new} --no-passphrase --letter {text}
customer --passphrase-file  passphrase    init --home {new} --letter {letter} --passphrase-file {nothing}
customer --home             --home        init --home {bob} --no-passphrase --letter {letter}
customer --number           number        init --home {new} --no-passphrase {typed} --number 12a
customer --name             name          init --home {new} --no-passphrase {typed} --name ""
customer --currency         currency      init --home {new} --no-passphrase {typed} --currency euro
customer --domain           domain        init --home {new} --no-passphrase {typed} --domain example
customer --bank             bank.name     init --home {new} --no-passphrase {typed} --bank ""
customer --bank-address     bank.address  init --home {new} --no-passphrase {typed} --bank-address x
customer --bank-fingerprint word          init --home {new} --no-passphrase {typed} --bank-fingerprint "adult adult"
customer --authority        authority.address init --home {new} --no-passphrase {typed} --authority y:z
customer --authority-fingerprint finger   init --home {new} --no-passphrase {typed} --authority-fingerprint ABCD
customer --letter           letter        register --home {alice} --letter {nowhere}
customer --home             --home        register --home {nowhere} --letter {letter}
customer --out              out           request --home {alice} --out {nowhere}/out
customer --passphrase-file  passphrase    request --home {alice} --passphrase-file {nothing}
customer --home             --home        request --home {nowhere}
customer --in               text          fetch --home {alice} --in {text}
customer --in               read          fetch --home {alice} --in {nowhere}
customer --home             --home        fetch --home {nowhere}
customer --home             --home        fingerprint --home {nowhere}
customer --qr-file          qr            fingerprint --home {alice} --qr-file {nowhere}/qr.png
customer --in               text          renew --home {alice} --in {text}
customer --home             --home        renew --home {nowhere}
customer --out              --new-key     renew --home {alice} --out {new}
customer --out              out           renew --home {alice} --new-key --no-passphrase --out {nowhere}/out
customer --passphrase-file  passphrase    renew --home {alice} --new-key --passphrase-file {nothing}
customer --certificate      revocation    revoke --home {alice} --certificate {text} --out {new}
customer --out              out           revoke --home {alice} --out {nowhere}/out
customer --home             --home        revoke --home {nowhere}
customer --home             --home        status --home {alice}/customer.toml
customer --to               --to          send --home {alice} --amount 1 --to 12a
customer --amount           --amount      send --home {alice} --to 1002 --amount 1,00
customer --amount           --amount      send --home {alice} --to 1002 --amount NaN
customer --currency         --currency    send --home {alice} --to 1002 --amount 1 --currency QQQ
customer --description      description   send --home {alice} --to 1002 --amount 1 --description {long}
customer --stage            --stage       send --home {alice} --to 1002 --amount 1 --stage none
customer --id               --id          send --home {alice} --to 1002 --amount 1 --id "a b"
customer --file             read          send --home {alice} --yes --file {nowhere}
customer --file             columns       send --home {alice} --yes --file {bobs}
customer --letter           --letter      send --home {fresh} --to 1002 --amount 1 --stage password
customer --letter           1002          send --home {fresh} --to 1002 --amount 1 --stage password --letter {bobs}
customer --passphrase-file  passphrase    send --home {alice} --to 1002 --amount 1 --passphrase-file {nowhere}
customer --home             --home        send --home {nowhere} --to 1002 --amount 1
customer --home             --home        outbox --home {nowhere}
customer --letter           letter        resume --home {pending} --letter {nowhere}
customer --passphrase-file  passphrase    resume --home {alice} --passphrase-file {nowhere}
customer --home             --home        resume --home {nowhere}
customer --stage            --stage       balance --home {alice} --stage none
customer --letter           letter        balance --home {fresh} --stage password --letter {text}
customer --passphrase-file  passphrase    balance --home {alice} --passphrase-file {nothing}
customer --home             --home        balance --home {nowhere}
customer --after            --after       statement --home {alice} --after x
customer --stage            --stage       statement --home {alice} --stage none
customer --letter           letter        statement --home {fresh} --stage password --letter {nowhere}
customer --passphrase-file  passphrase    statement --home {alice} --passphrase-file {nothing}
customer --home             --home        statement --home {nowhere}
customer identifier         nothing       evidence --home {alice} nothing --out {new}
customer --out              --out         evidence --home {alice} nothing
customer --stage            --stage       evidence --home {alice} nothing --out {new} --stage none
customer --letter           nothing       evidence --home {alice} nothing --out {new} --letter {nowhere}
customer --passphrase-file  passphrase    evidence --home {alice} x --out {new} --passphrase-file {nowhere}
customer --home             --home        evidence --home {nowhere} x --out {new}
customer identifier         nothing       verify --home {alice} nothing
customer --head             head          verify --home {alice} --head {text}
customer --head             read          verify --home {alice} --head {nowhere}
customer --save-head        head          verify --home {alice} --save-head {nowhere}/head
customer --follow-log       'nothing'     verify --home {alice} --follow-log nothing
customer --stage            --stage       verify --home {alice} --head {text} --stage none
customer --letter           letter        verify --home {fresh} --head {text} --stage password --letter {nowhere}
customer --passphrase-file  passphrase    verify --home {alice} --passphrase-file {nowhere}
customer --home             --home        verify --home {nowhere}
keyring  --home             nowhere       list --home {nowhere}
keyring  key                nobody        show --home {alice} nobody
keyring  --home             nowhere       show --home {nowhere} x
keyring  key                nobody        fingerprint --home {alice} nobody
keyring  --home             nowhere       fingerprint --home {nowhere} x
keyring  --qr-file          qr            fingerprint --home {alice} {key} --qr-file {nowhere}/qr.png
keyring  file               file          packets {nowhere}
keyring  file               packet        packets {text}
"""
BANK_INIT = "init --home {new} --name B --currency EUR --authority-fingerprint {hex}"
# Words that may be anything, and files that are made wherever they are named.
ANYTHING_GOES = {("ca", "confirm", "--operator"), ("ca", "confirm", "--home"), ("ca", "issue", "--out")} | {
    ("ca", "reopen", "--operator"),
    ("ca", "drop", "--operator"),
    ("ca", "revoke", "--operator"),
    ("ca", "renew", "--out"),
    ("ca", "issue", "--operator"),
}
JSON = """
ca       requests
ca       list
ca       fingerprint
ca       show 1001
ca       status
ca       publish {new}
bank     fingerprint
bank     deposit --to 1002 --amount 1.00
bank     withdraw --from 1002 --amount 1.00
bank     accounts
bank     accounts 1001
bank     transfers
bank     statement 1001
bank     audit
bank     request
bank     fetch
bank     renew
bank     status
bank     backup --out {new}
customer request
customer fetch
customer fingerprint
customer status
customer send --to 1002 --amount 1.00
customer outbox
customer resume
customer balance
customer statement
customer verify
customer evidence sent --out {new}
keyring  list
keyring  show {key}
keyring  fingerprint {key}
keyring  packets {certificate}
"""

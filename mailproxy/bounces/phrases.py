"""The words of mail systems: who writes notices, what their subjects say, and where the original begins."""

import re


def any_of(lines: str) -> re.Pattern[str]:
    """A pattern of alternatives, one a line."""
    return re.compile("|".join(line.strip() for line in lines.strip().splitlines()), re.IGNORECASE)


def says_first(subject: str, wanted: re.Pattern[str], other: re.Pattern[str]) -> bool:
    """Whether a subject says `wanted`, and not only behind `other`: there it is quoted from the original's."""
    found, rival = wanted.search(subject), other.search(subject)
    return found is not None and (rival is None or found.start() <= rival.start())


MAIL_SYSTEM = any_of(r"""
    mailer[-_. ]?daemon
    mail[-_. ]?daemon
    \bpostmaster\b
    \bmdaemon@
    \bmail delivery\b
    \bdelivery (?:sub)?system\b
    mail[-_.]delivery[-_.]s
    \bmail administrator\b
    \bsystem administrator\b
    maildelivery
    delivery[-_.]?(?:failure|status|notification)s?@
    (?:^|["<])bounces?@
    ^microsoft exchange
    microsoftexchange[0-9a-f]{10,}
    mail[-_. ]?(?:server|service|system)\b
    ^(?:[^<]*)<>$
""")

FAILURE_SUBJECT = any_of(r"""
    undeliver(?:able|ed)
    non-?deliver(?:y|able|ed)\b
    returned (?:mail|message|to sender|email)
    (?:mail|message|e-?mail|delivery)(?: system)?(?: status)?(?: notification)?[ :(-]+(?:has )?(?:fail(?:ure|ed)|error)
    fail(?:ure|ed)[ :-]+(?:notice|delivery|mail|to deliver|report)
    delivery (?:problem|report|notification|fail)
    (?:could|can) ?not be delivered
    (?:mail|message) not delivered
    returning (?:message|mail)
    permanent delivery failure
    mail delivery (?:problem|failed|system|failure)
    unknown (?:user|recipient)
    processing error
    user unknown
    ^bounce:
    ^nondeliverable
    unable to deliver
    unzustellbar
    nicht zugestellt
    zustellung.{0,30}fehlgeschlagen
    unzustellbarkeitsbericht
    non remis
    non distribu
    échec (?:de|de la) (?:remise|distribution)
    \becec de remise
    non recapitabile
    mancat[ao] (?:recapito|consegna)
    recapito.{0,20}(?:fallito|non riuscito)
    no se puede entregar
    no entregad
    devuelto
    error de entrega
    não (?:entregue|é possível)
    falha (?:na|de) entrega
    onbestelbaar
    niet (?:bezorgd|afgeleverd)
    kan inte levereras
    olevererbart
    niedostarczon
    не доставлен
    недоставлен
    не удается доставить
    配信不能
    退信
    传输失败
    無法傳遞
    无法送达
    배달되지
""")

FORWARDING_SUBJECT = re.compile(r"\s*(?:fwd?|wg|tr|i|rv|enc|vs|doorst)\s?:", re.IGNORECASE)

DELAY_SUBJECT = any_of(r"""
    \bdelay(?:ed)?\b
    still being retried
    not yet been delivered
    delivery warning
    mail (?:is )?deferred
    verzögert
    retard
    ritard
    retras
""")

DELAY_TEXT = any_of(r"""
    this is (?:only )?(?:a|just a) (?:warning|notification about a delay)
    warning (?:message )?only
    \b(?:has|have) (?:not yet been|been delayed|been postponed)
    not yet (?:been )?(?:delivered|received)
    delivery attempts will continue
    will (?:continue|keep) (?:to try|trying|to attempt|retrying|to deliver|to be)
    (?:will|shall) be retried
    will (?:re)?try (?:again|to deliver)
    no action is required on your part
    you do not need to (?:resend|take any action)
    is delayed\b
    still (?:being|in the) (?:retried|queue)
""")

FAILURE_TEXT = any_of(r"""
    (?:could|can|was|were|has|have|been|is|are|be)(?: ?not|n't)(?: be| been)?(?: successfully)? (?:deliver|sent|reach)
    (?:did|does|has|have) (?:not|NOT) (?:reach|receive|been delivered)
    not (?:be )?delivered
    undeliver
    unable to (?:deliver|be delivered|send|relay)
    non-?delivery
    del[ei]ver\w* .{0,60}(?:fail|error|problem|abort)
    deliver\w*\s+to the\s+following
    fail\w* (?:to )?deliver
    failed (?:recipient|address|permanently)
    permanent(?:ly)? (?:fatal )?(?:error|fail)
    has been (?:returned|rejected|refused|blocked|removed from the)
    was (?:automatically )?(?:rejected|returned|refused|undeliverable|blocked|not accepted)
    addresses? failed
    address\(es\) failed
    following address
    could ?n[o']t deliver
    invalid (?:final|mailbox|recipient)
    unknown user
    user unknown
    not a valid (?:user|recipient|mailbox|address)
    no such user
    did not exactly match
    delivery problems
    mailbox (?:is )?(?:full|unavailable)
    unzustellbar
    nicht zugestellt
    n'a pas (?:pu|été)
    pas pu etre delivre
    non (?:è stato possibile|consegnat|recapitat)
    no (?:pudo|se pudo|se ha podido) (?:ser )?entreg
    no\s+ha\s+podido\s+ser\s+entregad
    n[ãa]o (?:p[oô]de|foi poss[ií]vel)
    не (?:может|удалось|было|был)\w* .{0,20}доставлен
    无法|無法
""")

AUTO_REPLY_SUBJECT = any_of(r"""
    ^\s*(?:auto(?:matic|mated)?[- ]?(?:reply|response|answer)|out of (?:the )?office|ooo\b|vacation|away from)
    ^\s*auto ?:
    \bauto-?(?:reply|response|responder)\b
    \bout of (?:the )?office\b
    abwesenheit
    automatische antwort
    risposta automatica
    fuori (?:sede|ufficio)
    réponse automatique
    absence du bureau
    respuesta autom[aá]tica
    fuera de la oficina
    resposta autom[aá]tica
    automatisch antwoord
    afwezigheid
    autosvar
    automatyczna odpowied
    автоответ
    自动回复
    自動応答
""")

ORIGINAL_BEGINS = re.compile(
    r"^[ \t>*|=_-]{0,80}(?:"
    r"(?:begin(?:ning)?|start|the)?\s?(?:of )?(?:your |the |this is a copy of |a copy of |copy of )*"
    r"(?:original|returned|unsent|undelivered|bounced|message|mail|rfc ?822|forwarded|old)"
    r" (?:message(?! was\b)|mail|text|headers?|body|e-?mail|details|adjunto|as received)\b"
    r"[^@\n]{0,60}(?:$|:|-|follow)"
    r"|(?:this|below|attachment|included|here)\b[^@\n]{0,40}\b(?:is|this line is)\b[^@\n]{0,20}copy"
    r"|a copy of the original message below"
    r"|(?:the )?(?:header|headers|body)\b[^@\n]{0,40}\b(?:original|message)\b"
    r"|your message reads"
    r"|mensaje original"
    r"|(?:return-path|received): )",
    re.IGNORECASE | re.MULTILINE,
)

"""What the words of a refusal mean, where codes say too little: the first cause that matches counts."""

from mailproxy.bounces.phrases import any_of
from mailproxy.bounces.report import BounceClass, BounceType

_SENDER = any_of(r"""
    sender (?:address |domain |e-?mail )?(?:is )?(?:rejected|denied|blocked|unknown|invalid|not |verif\w+|does )
    (?:sender|client|helo|ehlo)\b.{0,40}(?:not (?:found|exist|resolve|allowed|permitted)|does not (?:exist|resolve))
    unable to verify (?:the )?sender
    envelope from
    reverse (?:dns|lookup|mapping)
    requires confirmation
    not (?:pre-)?approved
""")

_FULL = any_of(r"""
    quota
    (?:mail ?box|mail ?folder|account|inbox|storage) (?:is )?(?:too )?full
    (?:exceed\w*|over) (?:\w+ ){0,3}(?:storage|space|allocat\w+|limit of messages)
    mail ?box (?:\w+ ){0,3}exceed
    (?:mail ?box|storage) (?:size )?limit
    too many (?:messages|mails) on
    full mailbox
    mail ?box space not enough
    too much mail stored
    disk full
    casella (?:è |e' )?piena
    boîte .{0,20}pleine
    postfach .{0,20}voll
    buz[oó]n .{0,20}llen[oa]
    caixa .{0,20}cheia
    переполнен
    przepełnion
    邮箱已满|空间不足
""")

_UNKNOWN_RECIPIENT = any_of(r"""
    (?:user|recipient|mailbox|account|address(?:ee)?|alias)(?: name)? (?:is )?(?:unknown|invalid|unavailable|inactive)
    (?:user|recipient|mailbox|account|address|alias)(?: name)? (?:is )?(?:disabled|suspended|closed|does not exist)
    (?:user|recipient|mailbox|account|address|alias)(?: name)?(?: is)? not (?:found|known|exist|valid|available|listed)
    (?:user|recipient|mailbox|account|address|alias)(?: name)? (?:is not (?:recogni[sz]ed|local|active)|doesn't exist)
    (?:unknown|invalid|no such|unrecogni[sz]ed|illegal|inactive) (?:or \w+ )?(?:user|recipient|mailbox|account)
    (?:unknown|invalid|no such|unrecogni[sz]ed|illegal|bad|non-?existent) (?:or \w+ )?(?:address|person|final delivery)
    no (?:mail ?box|user|account) (?:here )?by that name
    does(?:n't| not) have (?:an?|any) \S+ account
    not listed in \S* ?directory
    (?:disabled|discontinued|deactivated|expired|closed) account
    has been (?:disabled|discontinued|deactivated|closed)
    wrong or no longer valid
    not a valid (?:user|mailbox|recipient|address)
    no longer (?:valid|available|active|in use)
    did not exactly match
    (?:user|recipient|rcpt|mailbox|account|address)\b.{0,80}(?:does not|doesn't|nie) (?:exist|istnieje)
    no longer (?:on|at|with|works)
    not a known user
    no mail ?box (?:found|available|here)
    not our customer
    (?:deactivated|inactive) (?:mailbox|account|user)
    user \S+ not (?:found|known|listed)
    is not a valid user
    n'existe pas
    non recens[ée]
    destinataire inconnu
    existiert nicht
    unbekannt\w* (?:empf|nutzer)
    utente sconosciuto
    indirizzo (?:non valido|inesistente)
    casella (?:inesistente|disabilitata)
    no existe
    usu[aá]rio (?:desconocid|no encontrado|não)
    (?:adresse|utilisateur) inconnue?
    n[ãa]o existe
    не (?:существует|найден)
    不存在|存在しません|見つかりません
    no matches to nameserver query
    no valid recipients
    does not have a final email delivery point
    e-?mail users
""")

_UNKNOWN_DOMAIN = any_of(r"""
    (?:domain|host)(?: name)? (?:does not exist|doesn't exist|not found|unknown)(?!,? try again)
    unknown (?:host|domain)
    no such (?:host|domain)
    nxdomain
    unrout\w+ (?:mail )?(?:address|domain)
    could not find a gateway
    name or service not known
    null mx
    does not accept mail
""")

_CONTENT = any_of(r"""
    too (?:large|big|long)
    (?:maximum|exceed\w*|over) (?:\w+ ){0,4}(?:message|mail|size)
    message size
    virus
    malware
    attachment
    (?:bad|forbidden|prohibited) content
    content (?:rejected|filter|blocked)
    8-?bit
    smtputf8
""")

_POLICY = any_of(r"""
    spam
    unsolicited
    black ?list
    block ?list
    blocked
    banned
    reputation
    polic(?:y|ies)
    \b(?:spf|dkim|dmarc|dnsbl|rbl)\b
    relay(?:ing)?(?: access)? (?:denied|not)
    access denied
    permission denied
    not (?:permitted|authori[sz]ed|allowed|accepting mail from)
    authentication required
    administrative prohibition
    (?:rejected|refused) by
    does not like recipient
""")

_TEMPORARY = any_of(r"""
    tim(?:ed|e) ?-?out
    (?:connection|network) (?:refused|reset|failed|problem|error)
    can't connect
    could ?n[o']t (?:be )?connect
    (?:in the|on the) queue too long
    queue too long
    try again
    temporar(?:y|ily)
    unreachable
    not (?:responding|reachable)
    no answer
    unavailable or busy
    establish an smtp connection
    maximum delivery attempts
    maximum time
    retr(?:y|ies) time
    not (?:been )?collected after
    try later
    resources
""")

_BROKEN = any_of(r"""
    hop(?:s| count)
    \bloop
    protocol error
    command died
    configuration
""")

CAUSES = (
    (_SENDER, BounceClass.POLICY, BounceType.HARD),
    (_FULL, BounceClass.RECIPIENT, BounceType.SOFT),
    (_UNKNOWN_RECIPIENT, BounceClass.RECIPIENT, BounceType.HARD),
    (_UNKNOWN_DOMAIN, BounceClass.RECIPIENT, BounceType.HARD),
    (_CONTENT, BounceClass.CONTENT, BounceType.HARD),
    (_POLICY, BounceClass.POLICY, BounceType.HARD),
    (_TEMPORARY, BounceClass.INFRASTRUCTURE, BounceType.SOFT),
    (_BROKEN, BounceClass.INFRASTRUCTURE, BounceType.HARD),
)

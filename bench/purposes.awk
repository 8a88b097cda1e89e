# What the bytes of an image are for: reads `tar --list --verbose` of it, prints `BYTES PURPOSE` a line, the largest first by
# sort. The first rule that matches a path counts; what none matches is "the rest", and a rest of megabytes wants a rule.
function purpose(path) {
    if (path ~ /^usr\/bin\/switchhook/) return "our programs"
    if (path ~ /\/asterisk\/modules\//) return "Asterisk's modules"
    if (path ~ /^usr\/sbin\/ast|libasteriskpj/) return "Asterisk's core, PJSIP"
    if (path ~ /\/asterisk\/sounds\//) return "prompts"
    if (path ~ /\/asterisk\/moh\//) return "music on hold"
    if (path ~ /asterisk\/documentation/) return "what Asterisk's console explains"
    if (path ~ /libcrypto|libssl|bin\/openssl|libzstd|libz\./) return "OpenSSL"
    if (path ~ /libnss3|libnssutil|libnspr|softokn|freebl|libplc|libplds|libsrtp|libsqlite/) return "SRTP (NSS), Asterisk's database"
    if (path ~ /libopus|libspeex|libgsm|libbcg729|libvo-|libopencore|libcodec2/) return "codecs"
    if (path ~ /pulse|libsndfile|libogg|libvorbis|libFLAC|mpg123|mp3lame|libX|libxcb|libdbus|libasound|alsa|portaudio|libjack|asyncns|libapparmor|libsamplerate|libresample|bin\/(pacat|paplay|aplay|speaker-test)/) return "sound of the host"
    if (path ~ /curl|libldap|liblber|krb5|gssapi|k5crypto|libcom_err|keyutils|libssh2|ngtcp2|nghttp|libpsl|libidn2|unistring|librtmp|brotli|sasl/) return "curl"
    if (path ~ /spandsp|tiff|libLerc|webp|libjpeg|jbig|lzma|deflate|libmvec/) return "fax"
    if (path ~ /odbc|libpq|ltdl|libmariadb|libsybdb|libct\./) return "databases"
    if (path ~ /bin\/nft|libnft|libgmp|jansson|libmnl|xtables/) return "nft"
    if (path ~ /libicu|libical|libneon/) return "calendars"
    if (path ~ /perl|netsnmp/) return "SNMP, with Perl"
    if (path ~ /libsox|bin\/(sox|play|rec|soxi)|bin\/(sngrep|tcpdump|lsof|strace|sqlite3)|libpcap|libncurses|libunwind/) return "diagnostics, sox"
    if (path ~ /bin\/(bash|jq|busybox)$|libjq|libonig|readline|libtinfo|terminfo/) return "shell, tools"
    if (path ~ /lib(c|m|stdc\+\+|gcc_s|resolv|crypt|nss_[a-z]+)\.so|ld-linux|ld\.so|gconv/) return "C and C++"
    if (path ~ /libedit|libbsd|libmd\.|libsystemd|libxml2|libxslt|libcap|libuuid|liburi|libunbound|libevent|liblua|libjwt|libglib|libgmime|libgobject|libgio|gnutls|libiksemel|radcli/) return "other libraries of Asterisk"
    if (path ~ /zoneinfo/) return "time zones"
    if (path ~ /share\/doc|common-licenses|dpkg\/status|cdx\.json/) return "licences, papers"
    if (path ~ /share\/switchhook|lib\/switchhook/) return "configuration, units"
    return "the rest"
}
# -rwxr-xr-x 0/0 12345 2026-11-29 18:00 usr/bin/sh; only files have bytes.
/^-/ { bytes[purpose($6)] += $3 }
END { for (name in bytes) print bytes[name], name }

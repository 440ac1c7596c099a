// A SCADA client that is not asyncua: Eclipse Milo. Usage: java -cp JARS ScadaClient.java ENDPOINT SECURITY USER PASSWORD FOLDER
// Its commands and answers are those of ../node-opcua/scada.cjs: a JSON list a line on stdin, a JSON object a line on stdout.

import static org.eclipse.milo.opcua.stack.core.types.builtin.unsigned.Unsigned.uint;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.eclipse.milo.opcua.sdk.client.OpcUaClient;
import org.eclipse.milo.opcua.sdk.client.identity.AnonymousProvider;
import org.eclipse.milo.opcua.sdk.client.identity.UsernameProvider;
import org.eclipse.milo.opcua.sdk.client.subscriptions.OpcUaMonitoredItem;
import org.eclipse.milo.opcua.sdk.client.subscriptions.OpcUaSubscription;
import org.eclipse.milo.opcua.stack.core.AttributeId;
import org.eclipse.milo.opcua.stack.core.NodeIds;
import org.eclipse.milo.opcua.stack.core.StatusCodes;
import org.eclipse.milo.opcua.stack.core.security.CertificateValidator;
import org.eclipse.milo.opcua.stack.core.security.SecurityPolicy;
import org.eclipse.milo.opcua.stack.core.types.builtin.ByteString;
import org.eclipse.milo.opcua.stack.core.types.builtin.DataValue;
import org.eclipse.milo.opcua.stack.core.types.builtin.DateTime;
import org.eclipse.milo.opcua.stack.core.types.builtin.ExtensionObject;
import org.eclipse.milo.opcua.stack.core.types.builtin.LocalizedText;
import org.eclipse.milo.opcua.stack.core.types.builtin.NodeId;
import org.eclipse.milo.opcua.stack.core.types.builtin.QualifiedName;
import org.eclipse.milo.opcua.stack.core.types.builtin.StatusCode;
import org.eclipse.milo.opcua.stack.core.types.builtin.Variant;
import org.eclipse.milo.opcua.stack.core.types.enumerated.FilterOperator;
import org.eclipse.milo.opcua.stack.core.types.enumerated.TimestampsToReturn;
import org.eclipse.milo.opcua.stack.core.types.structured.AggregateConfiguration;
import org.eclipse.milo.opcua.stack.core.types.structured.CallMethodRequest;
import org.eclipse.milo.opcua.stack.core.types.structured.ContentFilter;
import org.eclipse.milo.opcua.stack.core.types.structured.ContentFilterElement;
import org.eclipse.milo.opcua.stack.core.types.structured.EventFilter;
import org.eclipse.milo.opcua.stack.core.types.structured.HistoryData;
import org.eclipse.milo.opcua.stack.core.types.structured.HistoryReadDetails;
import org.eclipse.milo.opcua.stack.core.types.structured.HistoryReadResult;
import org.eclipse.milo.opcua.stack.core.types.structured.HistoryReadValueId;
import org.eclipse.milo.opcua.stack.core.types.structured.LiteralOperand;
import org.eclipse.milo.opcua.stack.core.types.structured.ReadProcessedDetails;
import org.eclipse.milo.opcua.stack.core.types.structured.ReadRawModifiedDetails;
import org.eclipse.milo.opcua.stack.core.types.structured.SimpleAttributeOperand;
import org.eclipse.milo.opcua.stack.core.util.SelfSignedCertificateBuilder;
import org.eclipse.milo.opcua.stack.core.util.SelfSignedCertificateGenerator;

public class ScadaClient {
    static final String URI = "urn:headrace:tests:milo";
    static final char[] SECRET = "tests".toCharArray();
    static final String[] FIELDS = {
        "EventId", "EventType", "SourceName", "Message", "Severity", "ConditionName", "Retain", "ActiveState.Id", "AckedState.Id",
        "ConfirmedState.Id", "ShelvingState.CurrentState", "SuppressedOrShelved", "ConditionId",
    };
    static final List<Map<String, Object>> events = Collections.synchronizedList(new ArrayList<>());
    static OpcUaClient client;

    public static void main(String[] given) throws Exception {
        Security.addProvider(new BouncyCastleProvider());  // RSA-PSS by the name that Milo asks for
        try {
            client = connected(given[0], given[1], given[2], given[3], Path.of(given[4]));
        } catch (Exception error) {
            say(Map.of("refused", String.valueOf(error)));
            System.exit(1);
        }
        say(Map.of("ready", true));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            List<String> words = words(line);
            try {
                say(Map.of("done", answer(words.get(0), words.subList(1, words.size()))));
            } catch (Exception error) {
                say(Map.of("failed", String.valueOf(error)));
            }
        }
        client.disconnect();
        System.exit(0);
    }

    static OpcUaClient connected(String endpoint, String security, String user, String password, Path folder) throws Exception {
        SecurityPolicy policy = switch (security) {
            case "Basic256Sha256" -> SecurityPolicy.Basic256Sha256;
            case "Aes256Sha256RsaPss" -> SecurityPolicy.Aes256_Sha256_RsaPss;
            default -> SecurityPolicy.None;
        };
        KeyStore store = store(folder);
        X509Certificate certificate = (X509Certificate) store.getCertificate("client");
        KeyPair pair = new KeyPair(certificate.getPublicKey(), (PrivateKey) store.getKey("client", SECRET));
        OpcUaClient made = OpcUaClient.create(
            endpoint,
            found -> found.stream().filter(one -> one.getSecurityPolicyUri().equals(policy.getUri())).findFirst(),
            transport -> { },
            config -> config.setApplicationName(LocalizedText.english("tests")).setApplicationUri(URI).setKeyPair(pair)
                .setCertificate(certificate).setCertificateChain(new X509Certificate[] {certificate})
                .setCertificateValidator(new CertificateValidator.InsecureCertificateValidator())
                .setRequestTimeout(uint(10_000))
                .setIdentityProvider(user.isEmpty() ? new AnonymousProvider() : new UsernameProvider(user, password)));
        made.connect();
        return made;
    }

    /** The client's key and certificate, made once. */
    static KeyStore store(Path folder) throws Exception {
        Path file = folder.resolve("client.p12");
        KeyStore store = KeyStore.getInstance("PKCS12");
        if (Files.exists(file)) {
            try (var in = Files.newInputStream(file)) {
                store.load(in, SECRET);
            }
            return store;
        }
        store.load(null, SECRET);
        KeyPair pair = SelfSignedCertificateGenerator.generateRsaKeyPair(2048);
        X509Certificate made = new SelfSignedCertificateBuilder(pair).setCommonName("milo").setOrganization("tests")
            .setApplicationUri(URI).addDnsName("localhost").build();
        store.setKeyEntry("client", pair.getPrivate(), SECRET, new Certificate[] {made});
        Files.createDirectories(folder);
        try (var out = Files.newOutputStream(file)) {
            store.store(out, SECRET);
        }
        return store;
    }

    static Object answer(String name, List<String> given) throws Exception {
        return switch (name) {
            case "subscribe" -> subscribe(given.isEmpty() ? null : given.get(0));
            case "refresh" -> call("i=2782", "i=3875", new Variant(uint(Integer.parseInt(given.get(0)))));
            case "events" -> List.copyOf(events);
            case "acknowledge" -> onEvent("i=9111", given);
            case "confirm" -> onEvent("i=9113", given);
            case "comment" -> onEvent("i=9029", given);
            case "call" -> call(given.get(0), given.get(1), given.size() > 2
                ? new Variant[] {new Variant(Double.parseDouble(given.get(3)))} : new Variant[0]);
            case "history" -> history(given);
            case "average" -> average(given);
            case "read" -> read(given.get(0));
            default -> throw new IllegalArgumentException(name);
        };
    }

    static Object subscribe(String type) throws Exception {
        OpcUaSubscription subscription = new OpcUaSubscription(client, 100.0);
        subscription.create();
        SimpleAttributeOperand[] select = Arrays.stream(FIELDS).map(ScadaClient::operand).toArray(SimpleAttributeOperand[]::new);
        ContentFilterElement[] where = type == null ? new ContentFilterElement[0] : new ContentFilterElement[] {
            new ContentFilterElement(FilterOperator.OfType, new ExtensionObject[] {ExtensionObject.encode(
                client.getStaticEncodingContext(), new LiteralOperand(new Variant(NodeId.parse(type))))})};
        OpcUaMonitoredItem item = OpcUaMonitoredItem.newEventItem(
            NodeIds.Server, new EventFilter(select, new ContentFilter(where)));
        item.setQueueSize(uint(10_000));
        item.setEventValueListener((of, fields) -> {
            Map<String, Object> event = new LinkedHashMap<>();
            for (int index = 0; index < FIELDS.length; index++) {
                event.put(FIELDS[index], plain(fields[index].getValue()));
            }
            events.add(event);
        });
        subscription.addMonitoredItem(item);
        subscription.synchronizeMonitoredItems();
        return subscription.getSubscriptionId().orElseThrow().intValue();
    }

    static SimpleAttributeOperand operand(String field) {
        if (field.equals("ConditionId")) {
            return new SimpleAttributeOperand(NodeIds.ConditionType, new QualifiedName[0], AttributeId.NodeId.uid(), null);
        }
        QualifiedName[] path = Arrays.stream(field.split("\\.")).map(name -> new QualifiedName(0, name)).toArray(QualifiedName[]::new);
        return new SimpleAttributeOperand(NodeIds.BaseEventType, path, AttributeId.Value.uid(), null);
    }

    static String onEvent(String method, List<String> given) throws Exception {
        ByteString event = ByteString.of(HexFormat.of().parseHex(given.get(1)));
        return call(given.get(0), method, new Variant(event), new Variant(LocalizedText.english(given.get(2))));
    }

    static String call(String object, String method, Variant... arguments) throws Exception {
        CallMethodRequest request = new CallMethodRequest(NodeId.parse(object), NodeId.parse(method), arguments);
        return name(client.call(List.of(request)).getResults()[0].getStatusCode());
    }

    static Object history(List<String> given) throws Exception {
        HistoryReadResult result = historyRead(given.get(0), new ReadRawModifiedDetails(
            false, time(given.get(1)), time(given.get(2)), uint(Integer.parseInt(given.get(3))), false));
        List<Object> values = new ArrayList<>();
        for (DataValue one : values(result)) {
            values.add(List.of(one.getSourceTime().getJavaTime(), one.getValue().getValue()));
        }
        boolean more = result.getContinuationPoint() != null && result.getContinuationPoint().isNotNull();
        return Map.of("status", name(result.getStatusCode()), "more", more, "values", values);
    }

    static Object average(List<String> given) throws Exception {
        HistoryReadResult result = historyRead(given.get(0), new ReadProcessedDetails(
            time(given.get(1)), time(given.get(2)), Double.parseDouble(given.get(3)), new NodeId[] {NodeId.parse("i=2342")},
            new AggregateConfiguration(true, false, null, null, false)));
        List<Object> values = new ArrayList<>();
        for (DataValue one : values(result)) {
            values.add(List.of(one.getValue().getValue(), one.getStatusCode().getValue()));
        }
        return values;
    }

    static HistoryReadResult historyRead(String node, HistoryReadDetails details) throws Exception {
        HistoryReadValueId of = new HistoryReadValueId(NodeId.parse(node), null, QualifiedName.NULL_VALUE, ByteString.NULL_VALUE);
        return client.historyRead(details, TimestampsToReturn.Source, false, List.of(of)).getResults()[0];
    }

    static DataValue[] values(HistoryReadResult result) {
        return ((HistoryData) result.getHistoryData().decode(client.getStaticEncodingContext())).getDataValues();
    }

    static DateTime time(String milliseconds) {
        return new DateTime(new Date((long) Double.parseDouble(milliseconds)));
    }

    static Object read(String node) throws Exception {
        DataValue value = client.readValues(0.0, TimestampsToReturn.Both, List.of(NodeId.parse(node))).get(0);
        return Arrays.asList(plain(value.getValue().getValue()), name(value.getStatusCode()));
    }

    static String name(StatusCode code) {
        if (code.getValue() == 0) {
            return "Good";
        }
        return StatusCodes.lookup(code.getValue()).map(found -> found[0].replace("_", "")).orElse(code.toString());
    }

    static Object plain(Object value) {
        if (value instanceof ByteString bytes) {
            return HexFormat.of().formatHex(bytes.bytesOrEmpty());
        }
        if (value instanceof LocalizedText text) {
            return text.text();
        }
        if (value instanceof NodeId node) {
            return node.toParseableString();
        }
        return value;
    }

    /** The texts and numbers of a JSON list, in order. */
    static List<String> words(String line) {
        List<String> found = new ArrayList<>();
        Matcher matcher = Pattern.compile("\"((?:[^\"\\\\]|\\\\.)*)\"|(-?[0-9][0-9.eE+-]*)").matcher(line);
        while (matcher.find()) {
            found.add(matcher.group(1) != null ? matcher.group(1) : matcher.group(2));
        }
        return found;
    }

    static void say(Object value) {
        System.out.println(json(value));
        System.out.flush();
    }

    static String json(Object value) {
        if (value instanceof Map<?, ?> map) {
            List<String> parts = new ArrayList<>();
            map.forEach((key, one) -> parts.add(json(key) + ":" + json(one)));
            return "{" + String.join(",", parts) + "}";
        }
        if (value instanceof List<?> list) {
            return "[" + String.join(",", list.stream().map(ScadaClient::json).toList()) + "]";
        }
        if (value == null || value instanceof Number || value instanceof Boolean) {
            return String.valueOf(value);
        }
        return "\"" + value.toString().replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ") + "\"";
    }
}
